//! The machine for `when`: typed instructions on a fixed stack of values in scratch.
//!
//! The compiler has checked types, so a value of another kind than an instruction expects means
//! malformed tables (`None`), never an error of the rule.

use core::cmp::Ordering;

use crate::hash::same;
use crate::layout::subject;
use crate::observe::Observe;
use crate::op;
use crate::record::Record;
use crate::table::{Table, long, text, words};

/// Most values on the stack.
pub const DEPTH: usize = 48;
/// Words of scratch a value takes: kind, then payload.
const VALUE: usize = 2;
/// Words of scratch the stack takes.
pub const STACK_WORDS: usize = DEPTH * VALUE;

/// What an expression came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It failed, for example on an attribute the person does not have.
    Error,
}

impl Truth {
    /// The conjunction, as CEL has it: false wins over error.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::Error, _) | (_, Self::Error) => Self::Error,
            (Self::True, Self::True) => Self::True,
        }
    }

    fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Error => Self::Error,
        }
    }
}

/// Whose bytes a text points into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    Table = 0,
    Subject = 1,
    Request = 2,
}

/// A text value; `lower` reads ASCII capitals as small letters.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Text {
    space: Space,
    lower: bool,
    offset: u32,
    length: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Truth(Truth),
    Int(i64),
    Text(Text),
}

const ERROR: Value = Value::Truth(Truth::Error);

/// What the machine looks at.
struct Machine<'a, 's> {
    table: &'a Table<'a>,
    record: &'a Record<'a>,
    stack: &'s mut [u64],
    depth: usize,
    deepest: usize,
}

/// The time bits of the code at `at`.
#[inline]
pub(crate) fn time_bits(table: &Table<'_>, at: usize) -> Option<u32> {
    words::<2>(table.bytes(), at).map(|[_, bits]| bits)
}

/// Runs the code at `at`; gives also the words of `stack` it wrote.
pub(crate) fn run<O: Observe>(
    table: &Table<'_>,
    record: &Record<'_>,
    at: usize,
    stack: &mut [u64],
    observe: &mut O,
) -> Option<(Truth, usize)> {
    let [count] = words::<1>(table.bytes(), at)?;
    let mut machine = Machine { table, record, stack, depth: 0, deepest: 0 };
    let mut next = 0;
    while next < count {
        let [first, c] = words::<2>(table.bytes(), at + 8 + next as usize * op::INSTRUCTION)?;
        let opcode = first as u8;
        observe.opcode(opcode);
        next = match machine.step(opcode, (first >> 8) as u8, (first >> 16) as u16, c)? {
            None => next + 1,
            // Forward only: every expression ends.
            Some(target) if target > next => target,
            Some(_) => return None,
        };
    }
    let result = machine.truth()?;
    (machine.depth == 0).then_some((result, machine.deepest * VALUE))
}

impl<'a> Machine<'a, '_> {
    /// One instruction; gives the target of a jump taken.
    fn step(&mut self, opcode: u8, a: u8, b: u16, c: u32) -> Option<Option<u32>> {
        let key = || text(self.table.bytes(), c, u32::from(b));
        match opcode {
            op::BOOL => self.push(truth(a != 0))?,
            op::INT => self.push(Value::Int(long(self.table.bytes(), c as usize)? as i64))?,
            op::TEXT => self.push_text(Space::Table, c, u32::from(b))?,
            op::FIELD => self.field(a)?,
            op::NUMBER => self.push(Value::Int(self.number(a)?))?,
            op::ATTRIBUTE => {
                let found = self.record.attributes()?.value_of(key()?)?;
                self.push_found(Space::Subject, found)?;
            }
            op::LABEL => {
                let found = self.record.labels()?.value_of(key()?)?;
                self.push_found(Space::Request, found)?;
            }
            op::HAS_ATTRIBUTE => {
                let found = self.record.attributes()?.value_of(key()?)?.is_some();
                self.push(truth(found))?;
            }
            op::HAS_LABEL => {
                let found = self.record.labels()?.value_of(key()?)?.is_some();
                self.push(truth(found))?;
            }
            op::IN_GROUP => {
                let (hash, name) = self.table.member(c as usize)?;
                let found = self.record.in_group(hash, name)?;
                self.push(truth(found))?;
            }
            op::TEXT_IN_GROUPS => {
                let value = self.pop()?;
                let found = self.map_text(value, |machine, name| machine.text_in_groups(name))?;
                self.push(found)?;
            }
            op::HAS_FACTOR => self.push(truth(self.record.factors() & a != 0))?,
            op::COMPARE_TEXT => self.two_texts(|left, right| relate(left.compare(right), a))?,
            op::COMPARE_INT => {
                let (right, left) = (self.pop()?, self.pop()?);
                let value = match (left, right) {
                    (Value::Int(left), Value::Int(right)) => truth(relate(left.cmp(&right), a)?),
                    (ERROR, _) | (_, ERROR) => ERROR,
                    _ => return None,
                };
                self.push(value)?;
            }
            op::COMPARE_BOOL => {
                let (right, left) = (self.truth()?, self.truth()?);
                let value = match (left, right) {
                    (Truth::Error, _) | (_, Truth::Error) => ERROR,
                    _ => truth((left == right) == (a == op::relation::EQUAL)),
                };
                self.push(value)?;
            }
            op::TEXT_IN => {
                let value = self.pop()?;
                let found = self.map_text(value, |machine, text| machine.text_in(c as usize, text))?;
                self.push(found)?;
            }
            op::INT_IN => {
                let value = match self.pop()? {
                    Value::Int(wanted) => truth(self.int_in(c as usize, wanted)?),
                    ERROR => ERROR,
                    _ => return None,
                };
                self.push(value)?;
            }
            op::NOT => {
                let value = self.truth()?.not();
                self.push(Value::Truth(value))?;
            }
            op::AND => {
                let value = self.truth()?.and(self.truth()?);
                self.push(Value::Truth(value))?;
            }
            op::OR => {
                let value = self.truth()?.or(self.truth()?);
                self.push(Value::Truth(value))?;
            }
            op::JUMP_FALSE | op::JUMP_TRUE => {
                let value = self.truth()?;
                self.push(Value::Truth(value))?;
                let wanted = if opcode == op::JUMP_TRUE { Truth::True } else { Truth::False };
                return Some((value == wanted).then_some(c));
            }
            op::SELECT => match self.truth()? {
                Truth::True => {}
                Truth::False => return Some(Some(c)),
                Truth::Error => {
                    self.push(ERROR)?;
                    return Some(Some(u32::from(b)));
                }
            },
            op::JUMP => return Some(Some(c)),
            op::STARTS_WITH => self.two_texts(|text, part| Some(text.has_at(0, part)))?,
            op::ENDS_WITH => self.two_texts(|text, part| {
                Some(text.len().checked_sub(part.len()).is_some_and(|from| text.has_at(from, part)))
            })?,
            op::CONTAINS => self.two_texts(|text, part| Some(text.contains(part)))?,
            op::SIZE_TEXT => {
                let value = match self.pop()? {
                    Value::Text(text) => {
                        let bytes = self.bytes(text)?.bytes;
                        let characters = bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
                        Value::Int(characters as i64)
                    }
                    ERROR => ERROR,
                    _ => return None,
                };
                self.push(value)?;
            }
            op::SIZE_LIST => {
                let list = match a {
                    op::list::GROUPS => self.record.groups()?,
                    op::list::ATTRIBUTES => self.record.attributes()?,
                    op::list::LABELS => self.record.labels()?,
                    _ => return None,
                };
                self.push(Value::Int(list.len() as i64))?;
            }
            op::LOWER => {
                let value = match self.pop()? {
                    Value::Text(text) => Value::Text(Text { lower: true, ..text }),
                    ERROR => ERROR,
                    _ => return None,
                };
                self.push(value)?;
            }
            _ => return None,
        }
        Some(None)
    }

    fn push(&mut self, value: Value) -> Option<()> {
        let (kind, payload) = match value {
            Value::Truth(Truth::False) => (0, 0),
            Value::Truth(Truth::True) => (0, 1),
            ERROR => (0, 2),
            Value::Int(number) => (1, number as u64),
            Value::Text(text) => (
                2 | (text.space as u64) << 8 | u64::from(text.lower) << 16,
                u64::from(text.offset) | u64::from(text.length) << 32,
            ),
        };
        let slot = self.stack.get_mut(self.depth * VALUE..)?.first_chunk_mut::<VALUE>()?;
        *slot = [kind, payload];
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        Some(())
    }

    fn pop(&mut self) -> Option<Value> {
        self.depth = self.depth.checked_sub(1)?;
        let [kind, payload] = *self.stack.get(self.depth * VALUE..)?.first_chunk::<VALUE>()?;
        Some(match (kind & 0xff, payload) {
            (0, 0) => Value::Truth(Truth::False),
            (0, 1) => Value::Truth(Truth::True),
            (0, _) => ERROR,
            (1, number) => Value::Int(number as i64),
            _ => Value::Text(Text {
                space: match kind >> 8 & 0xff {
                    0 => Space::Table,
                    1 => Space::Subject,
                    _ => Space::Request,
                },
                lower: kind >> 16 & 1 == 1,
                offset: payload as u32,
                length: (payload >> 32) as u32,
            }),
        })
    }

    fn truth(&mut self) -> Option<Truth> {
        match self.pop()? {
            Value::Truth(truth) => Some(truth),
            _ => None,
        }
    }

    fn push_text(&mut self, space: Space, offset: u32, length: u32) -> Option<()> {
        self.push(Value::Text(Text { space, lower: false, offset, length }))
    }

    fn push_found(&mut self, space: Space, found: Option<(u32, u32)>) -> Option<()> {
        match found {
            Some((offset, length)) => self.push_text(space, offset, length),
            None => self.push(ERROR),
        }
    }

    fn field(&mut self, field: u8) -> Option<()> {
        use crate::layout::{request, subject};
        let (space, half, at) = match field {
            op::field::USER_NAME => (Space::Subject, self.record.subject_half(), subject::NAME),
            op::field::USER_DEPARTMENT => (Space::Subject, self.record.subject_half(), subject::DEPARTMENT),
            op::field::USER_UNIT => (Space::Subject, self.record.subject_half(), subject::UNIT),
            op::field::RESOURCE_NAME => (Space::Request, self.record.request_half(), request::RESOURCE),
            op::field::RESOURCE_DEPARTMENT => (Space::Request, self.record.request_half(), request::OWNER),
            op::field::RESOURCE_HOST => (Space::Request, self.record.request_half(), request::HOST),
            op::field::REQUEST_METHOD => (Space::Request, self.record.request_half(), request::METHOD),
            op::field::REQUEST_PATH => (Space::Request, self.record.request_half(), request::PATH),
            _ => return None,
        };
        let [offset, length] = words::<2>(half, at)?;
        self.push_text(space, offset, length)
    }

    fn number(&self, number: u8) -> Option<i64> {
        Some(match number {
            op::number::PORT => i64::from(self.record.port()),
            op::number::DEVICE => i64::from(self.record.device()),
            op::number::MINUTE_OF_DAY => i64::from(self.record.minute_of_day()),
            op::number::HOUR => i64::from(self.record.minute_of_day() / 60),
            op::number::WEEKDAY => i64::from(self.record.weekday()),
            _ => return None,
        })
    }

    fn bytes(&self, value: Text) -> Option<Bytes<'a>> {
        let space = match value.space {
            Space::Table => self.table.bytes(),
            Space::Subject => self.record.subject_half(),
            Space::Request => self.record.request_half(),
        };
        Some(Bytes { bytes: text(space, value.offset, value.length)?, lower: value.lower })
    }

    /// Applies a test to a text, or passes the error on.
    fn map_text(&self, value: Value, test: impl FnOnce(&Self, Bytes<'_>) -> Option<bool>) -> Option<Value> {
        match value {
            Value::Text(text) => Some(truth(test(self, self.bytes(text)?)?)),
            ERROR => Some(ERROR),
            _ => None,
        }
    }

    /// Pops two texts and pushes the outcome of a test on them, or the error.
    fn two_texts(&mut self, test: impl FnOnce(Bytes<'_>, Bytes<'_>) -> Option<bool>) -> Option<()> {
        let (right, left) = (self.pop()?, self.pop()?);
        let value = match (left, right) {
            (Value::Text(left), Value::Text(right)) => truth(test(self.bytes(left)?, self.bytes(right)?)?),
            (ERROR, _) | (_, ERROR) => ERROR,
            _ => return None,
        };
        self.push(value)
    }

    fn text_in_groups(&self, name: Bytes<'_>) -> Option<bool> {
        let groups = self.record.groups()?;
        for index in 0..groups.len() {
            if name.equals(groups.get(subject::GROUP, index)?.text) {
                return Some(true);
            }
        }
        Some(false)
    }

    fn text_in(&self, at: usize, wanted: Bytes<'_>) -> Option<bool> {
        let [count] = words::<1>(self.table.bytes(), at)?;
        for index in 0..count as usize {
            let [offset, length] = words::<2>(self.table.bytes(), at + 8 + index * 8)?;
            if wanted.equals(text(self.table.bytes(), offset, length)?) {
                return Some(true);
            }
        }
        Some(false)
    }

    fn int_in(&self, at: usize, wanted: i64) -> Option<bool> {
        let [count] = words::<1>(self.table.bytes(), at)?;
        for index in 0..count as usize {
            if long(self.table.bytes(), at + 8 + index * 8)? as i64 == wanted {
                return Some(true);
            }
        }
        Some(false)
    }
}

fn truth(holds: bool) -> Value {
    Value::Truth(if holds { Truth::True } else { Truth::False })
}

fn relate(ordering: Ordering, relation: u8) -> Option<bool> {
    Some(match relation {
        op::relation::EQUAL => ordering.is_eq(),
        op::relation::NOT_EQUAL => ordering.is_ne(),
        op::relation::LESS => ordering.is_lt(),
        op::relation::LESS_OR_EQUAL => ordering.is_le(),
        op::relation::GREATER => ordering.is_gt(),
        op::relation::GREATER_OR_EQUAL => ordering.is_ge(),
        _ => return None,
    })
}

/// The bytes of a text value, read in lower case or as they are.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    bytes: &'a [u8],
    lower: bool,
}

impl Bytes<'_> {
    fn len(self) -> usize {
        self.bytes.len()
    }

    fn iter(self) -> impl Iterator<Item = u8> {
        let lower = self.lower;
        self.bytes.iter().map(move |byte| if lower { byte.to_ascii_lowercase() } else { *byte })
    }

    fn equals(self, other: &[u8]) -> bool {
        if self.lower {
            self.len() == other.len() && self.iter().eq(other.iter().copied())
        } else {
            same(self.bytes, other)
        }
    }

    fn compare(self, other: Bytes<'_>) -> Ordering {
        self.iter().cmp(other.iter())
    }

    /// A rolling hash finds candidates, so that the cost is linear in the text.
    fn contains(self, part: Bytes<'_>) -> bool {
        const BASE: u64 = 0x0100_0000_01b3;
        if part.len() > self.len() {
            return false;
        }
        let roll = |hash: u64, byte: u8| hash.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1);
        let wanted = part.iter().fold(0, roll);
        let mut window = self.iter().take(part.len()).fold(0, roll);
        let leading = (0..part.len()).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        let mut entering = self.iter().skip(part.len());
        for (from, leaving) in self.iter().map(Some).chain([None]).enumerate() {
            if window == wanted && self.has_at(from, part) {
                return true;
            }
            let (Some(leaving), Some(entering)) = (leaving, entering.next()) else { return false };
            window = roll(window, entering).wrapping_sub((u64::from(leaving) + 1).wrapping_mul(leading));
        }
        false
    }

    fn has_at(self, from: usize, part: Bytes<'_>) -> bool {
        match self.bytes.get(from..).and_then(|rest| rest.get(..part.len())) {
            Some(bytes) => Bytes { bytes, lower: self.lower }.iter().eq(part.iter()),
            None => false,
        }
    }
}
