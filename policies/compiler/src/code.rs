//! Typed expressions to instructions.

use tidegate_policy_evaluator::op;

use crate::data::Data;
use crate::when::ast::Relation;
use crate::when::typed::{Expr, Field, List, Number};

/// Offset of the code that evaluates the conjunction of these expressions, at least one.
pub(crate) fn conjunction(data: &mut Data, all: &[&Expr]) -> u32 {
    let mut code = Code { data, instructions: Vec::new(), time: 0 };
    code.chain(all.iter().copied(), op::JUMP_FALSE, op::AND);
    let Code { instructions, time, .. } = code;
    let mut bytes = (instructions.len() as u64 | u64::from(time) << 32).to_le_bytes().to_vec();
    bytes.extend(instructions.iter().flat_map(|instruction| instruction.to_le_bytes()));
    data.intern(bytes)
}

struct Code<'d> {
    data: &'d mut Data,
    instructions: Vec<u64>,
    time: u32,
}

impl Code<'_> {
    fn emit(&mut self, opcode: u8, a: u8, b: u16, c: u32) -> usize {
        let word = u64::from(opcode) | u64::from(a) << 8 | u64::from(b) << 16 | u64::from(c) << 32;
        self.instructions.push(word);
        self.instructions.len() - 1
    }

    fn next(&self) -> u32 {
        self.instructions.len() as u32
    }

    /// Makes the instruction at `at` lead to the next one to be emitted.
    fn land(&mut self, at: usize) {
        let target = u64::from(self.next()) << 32;
        if let Some(instruction) = self.instructions.get_mut(at) {
            *instruction = *instruction & 0xffff_ffff | target;
        }
    }

    fn texted(&mut self, opcode: u8, text: &str) {
        let at = self.data.text(text);
        // Literals are bounded far below 64 KiB.
        self.emit(opcode, 0, text.len() as u16, at);
    }

    /// Operands joined by `join`; a value that settles the chain jumps over the rest.
    fn chain<'e>(&mut self, all: impl IntoIterator<Item = &'e Expr>, jump: u8, join: u8) {
        let mut jumps = Vec::new();
        for (index, expr) in all.into_iter().enumerate() {
            if index > 0 {
                jumps.push(self.emit(jump, 0, 0, 0));
            }
            self.expr(expr);
            if index > 0 {
                self.emit(join, 0, 0, 0);
            }
        }
        for jump in jumps {
            self.land(jump);
        }
    }

    fn two(&mut self, opcode: u8, a: u8, left: &Expr, right: &Expr) {
        self.expr(left);
        self.expr(right);
        self.emit(opcode, a, 0, 0);
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Bool(value) => {
                self.emit(op::BOOL, u8::from(*value), 0, 0);
            }
            Expr::Int(value) => {
                let at = self.data.intern(value.to_le_bytes().to_vec());
                self.emit(op::INT, 0, 0, at);
            }
            Expr::Text(text) => self.texted(op::TEXT, text),
            Expr::Field(field) => {
                self.emit(op::FIELD, field_number(*field), 0, 0);
            }
            Expr::Number(number) => self.number(*number),
            Expr::Attribute(key) => self.texted(op::ATTRIBUTE, key),
            Expr::Label(key) => self.texted(op::LABEL, key),
            Expr::HasAttribute(key) => self.texted(op::HAS_ATTRIBUTE, key),
            Expr::HasLabel(key) => self.texted(op::HAS_LABEL, key),
            Expr::InGroups(group) => match &**group {
                Expr::Text(group) => {
                    let at = self.data.member(group);
                    self.emit(op::IN_GROUP, 0, 0, at);
                }
                group => {
                    self.expr(group);
                    self.emit(op::TEXT_IN_GROUPS, 0, 0, 0);
                }
            },
            Expr::HasFactor(factors) => {
                self.emit(op::HAS_FACTOR, *factors, 0, 0);
            }
            Expr::CompareText(relation, a, b) => self.two(op::COMPARE_TEXT, relation_number(*relation), a, b),
            Expr::CompareInt(relation, a, b) => self.two(op::COMPARE_INT, relation_number(*relation), a, b),
            Expr::CompareBool(equal, a, b) => {
                let relation = if *equal { op::relation::EQUAL } else { op::relation::NOT_EQUAL };
                self.two(op::COMPARE_BOOL, relation, a, b);
            }
            Expr::TextIn(text, list) => {
                self.expr(text);
                let places: Vec<_> = list.iter().map(|text| self.data.place(text).to_vec()).collect();
                let at = self.data.list(places);
                self.emit(op::TEXT_IN, 0, 0, at);
            }
            Expr::IntIn(number, list) => {
                self.expr(number);
                let at = self.data.list(list.iter().map(|number| number.to_le_bytes().to_vec()));
                self.emit(op::INT_IN, 0, 0, at);
            }
            Expr::Not(inner) => {
                self.expr(inner);
                self.emit(op::NOT, 0, 0, 0);
            }
            Expr::And(all) => self.chain(all, op::JUMP_FALSE, op::AND),
            Expr::Or(all) => self.chain(all, op::JUMP_TRUE, op::OR),
            Expr::Select(test, then, otherwise) => self.select(test, then, otherwise),
            Expr::StartsWith(a, b) => self.two(op::STARTS_WITH, 0, a, b),
            Expr::EndsWith(a, b) => self.two(op::ENDS_WITH, 0, a, b),
            Expr::Contains(a, b) => self.two(op::CONTAINS, 0, a, b),
            Expr::Size(text) => {
                self.expr(text);
                self.emit(op::SIZE_TEXT, 0, 0, 0);
            }
            Expr::SizeOf(list) => {
                let list = match list {
                    List::Groups => op::list::GROUPS,
                    List::Attributes => op::list::ATTRIBUTES,
                    List::Labels => op::list::LABELS,
                };
                self.emit(op::SIZE_LIST, list, 0, 0);
            }
            Expr::Lower(text) => {
                self.expr(text);
                self.emit(op::LOWER, 0, 0, 0);
            }
        }
    }

    fn number(&mut self, number: Number) {
        let (number, time) = match number {
            Number::Port => (op::number::PORT, 0),
            Number::Device => (op::number::DEVICE, 0),
            Number::MinuteOfDay => (op::number::MINUTE_OF_DAY, op::time::MINUTE),
            Number::Hour => (op::number::HOUR, op::time::HOUR),
            Number::Weekday => (op::number::WEEKDAY, op::time::WEEKDAY),
        };
        self.time |= time;
        self.emit(op::NUMBER, number, 0, 0);
    }

    fn select(&mut self, test: &Expr, then: &Expr, otherwise: &Expr) {
        self.expr(test);
        let select = self.emit(op::SELECT, 0, 0, 0);
        self.expr(then);
        let jump = self.emit(op::JUMP, 0, 0, 0);
        self.land(select);
        self.expr(otherwise);
        self.land(jump);
        // An error of the test leaves past both choices; the parser bounds parts far below 64 Ki.
        let end = u64::from(self.next() as u16) << 16;
        if let Some(instruction) = self.instructions.get_mut(select) {
            *instruction |= end;
        }
    }
}

fn field_number(field: Field) -> u8 {
    match field {
        Field::UserName => op::field::USER_NAME,
        Field::UserDepartment => op::field::USER_DEPARTMENT,
        Field::UserUnit => op::field::USER_UNIT,
        Field::ResourceName => op::field::RESOURCE_NAME,
        Field::ResourceDepartment => op::field::RESOURCE_DEPARTMENT,
        Field::ResourceHost => op::field::RESOURCE_HOST,
        Field::Method => op::field::REQUEST_METHOD,
        Field::Path => op::field::REQUEST_PATH,
    }
}

fn relation_number(relation: Relation) -> u8 {
    match relation {
        Relation::Equal => op::relation::EQUAL,
        Relation::NotEqual => op::relation::NOT_EQUAL,
        Relation::Less => op::relation::LESS,
        Relation::LessOrEqual => op::relation::LESS_OR_EQUAL,
        Relation::Greater => op::relation::GREATER,
        Relation::GreaterOrEqual => op::relation::GREATER_OR_EQUAL,
    }
}
