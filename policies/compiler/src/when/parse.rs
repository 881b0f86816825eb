//! Words to a tree, by recursive descent with bounded depth.

use std::ops::Range;

use tidegate_core::Code;

use super::ast::{Kind, Node, Relation};
use super::lex::{Token, Word, words};
use crate::limits::{MAX_LIST, MAX_NESTING, MAX_PARTS, MAX_WHEN};
use crate::problem::Fault;

/// Parses an expression.
///
/// # Errors
/// The first place where the text is not one, and what to write instead.
pub fn parse(text: &str) -> Result<Node, Fault> {
    if text.len() > MAX_WHEN {
        return Err(syntax(
            0..0,
            format!("the expression is longer than {MAX_WHEN} bytes"),
            "split it over several rules",
        ));
    }
    let mut parser = Parser { words: words(text)?, next: 0, nesting: 0 };
    if parser.words.len() > MAX_PARTS {
        return Err(syntax(
            0..text.len(),
            format!("the expression has more than {MAX_PARTS} parts"),
            "write `x in [a, b, c]` for `x == a || x == b || x == c`, or split it over several rules",
        ));
    }
    let node = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(node),
        _ => Err(parser
            .unexpected("the expression should end here", "remove the rest, or join it with `&&` or `||`")),
    }
}

fn syntax(span: Range<usize>, message: impl Into<String>, fix: impl Into<String>) -> Fault {
    Fault::at(Code::RuleSyntax, span, message, fix)
}

struct Parser {
    words: Vec<Word>,
    next: usize,
    nesting: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.words.get(self.next).map_or(&Token::End, |word| &word.token)
    }

    fn span(&self) -> Range<usize> {
        self.words.get(self.next).or(self.words.last()).map_or(0..0, |word| word.span.clone())
    }

    fn advance(&mut self) -> Option<Word> {
        let word = self.words.get(self.next).cloned();
        self.next += 1;
        word
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        if found {
            self.next += 1;
        }
        found
    }

    fn expect(&mut self, symbol: &str, opened: &Range<usize>, what: &str) -> Result<Range<usize>, Fault> {
        let span = self.span();
        if self.take(symbol) {
            return Ok(span);
        }
        let mut fault =
            self.unexpected(&format!("`{symbol}` is missing"), &format!("close {what} with `{symbol}`"));
        if matches!(self.peek(), Token::End) {
            fault.span = Some(opened.clone());
            fault.message = format!("{what} that begins here is not closed");
        }
        Err(fault)
    }

    /// A fault at the next word, with the habits of other languages recognised.
    fn unexpected(&self, message: &str, fix: &str) -> Fault {
        if let Token::Name(name) = self.peek() {
            let meant = match name.to_ascii_lowercase().as_str() {
                "and" => Some("&&"),
                "or" => Some("||"),
                "not" => Some("!"),
                "is" | "eq" | "equals" => Some("=="),
                _ => None,
            };
            if let Some(meant) = meant {
                return syntax(
                    self.span(),
                    format!("`{name}` is not an operator"),
                    format!("write `{meant}`"),
                );
            }
        }
        if matches!(self.peek(), Token::Symbol("-")) {
            return syntax(self.span(), "rules do not calculate", "compare with the finished number");
        }
        syntax(self.span(), message, fix)
    }

    fn expression(&mut self) -> Result<Node, Fault> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(syntax(
                self.span(),
                format!("the expression is nested deeper than {MAX_NESTING} levels"),
                "split it over several rules",
            ));
        }
        let condition = self.chain("||", Self::conjunction, Kind::Or)?;
        let node = if self.take("?") {
            let then = self.chain("||", Self::conjunction, Kind::Or)?;
            let opened = condition.span.clone();
            self.expect(":", &opened, "the choice `condition ? a : b`")?;
            let otherwise = self.expression()?;
            let span = condition.span.start..otherwise.span.end;
            Node { kind: Kind::Select(Box::new(condition), Box::new(then), Box::new(otherwise)), span }
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(node)
    }

    fn conjunction(&mut self) -> Result<Node, Fault> {
        self.chain("&&", Self::comparison, Kind::And)
    }

    fn chain(
        &mut self,
        symbol: &str,
        operand: fn(&mut Self) -> Result<Node, Fault>,
        join: fn(Vec<Node>) -> Kind,
    ) -> Result<Node, Fault> {
        let first = operand(self)?;
        let mut operands = vec![first];
        while self.take(symbol) {
            operands.push(operand(self)?);
        }
        let ends = operands.first().zip(operands.last());
        let span = ends.map_or(0..0, |(first, last)| first.span.start..last.span.end);
        match (operands.len(), operands.pop()) {
            (1, Some(only)) => Ok(only),
            (_, last) => {
                operands.extend(last);
                Ok(Node { kind: join(operands), span })
            }
        }
    }

    fn comparison(&mut self) -> Result<Node, Fault> {
        let left = self.unary()?;
        let relation = match self.peek() {
            Token::Symbol("==") => Some(Relation::Equal),
            Token::Symbol("!=") => Some(Relation::NotEqual),
            Token::Symbol("<") => Some(Relation::Less),
            Token::Symbol("<=") => Some(Relation::LessOrEqual),
            Token::Symbol(">") => Some(Relation::Greater),
            Token::Symbol(">=") => Some(Relation::GreaterOrEqual),
            Token::Name(name) if name == "in" => None,
            _ => return Ok(left),
        };
        self.next += 1;
        let right = self.unary()?;
        let span = left.span.start..right.span.end;
        let kind = match relation {
            Some(relation) => Kind::Compare(relation, Box::new(left), Box::new(right)),
            None => Kind::In(Box::new(left), Box::new(right)),
        };
        if matches!(self.peek(), Token::Symbol("==" | "!=" | "<" | "<=" | ">" | ">=")) {
            return Err(self.unexpected(
                "comparisons cannot be chained",
                "write `a < b && b < c`, or put one comparison in parentheses",
            ));
        }
        Ok(Node { kind, span })
    }

    fn unary(&mut self) -> Result<Node, Fault> {
        let start = self.span().start;
        let mut negations = 0_usize;
        while self.take("!") {
            negations += 1;
        }
        let mut node = if negations == 0 && self.take("-") { self.negative(start)? } else { self.postfix()? };
        // Two negations cancel, also on an error.
        if negations % 2 == 1 {
            let span = start..node.span.end;
            node = Node { kind: Kind::Not(Box::new(node)), span };
        } else if negations > 0 {
            let span = start..node.span.end;
            let inner = Node { kind: Kind::Not(Box::new(node)), span: span.clone() };
            node = Node { kind: Kind::Not(Box::new(inner)), span };
        }
        Ok(node)
    }

    fn negative(&mut self, start: usize) -> Result<Node, Fault> {
        let span = self.span();
        let number = match self.peek() {
            Token::Int(number) => 0_i64.checked_sub_unsigned(*number),
            _ => {
                return Err(syntax(
                    span,
                    "`-` stands before something other than a number",
                    "rules do not calculate: write the finished number",
                ));
            }
        };
        self.next += 1;
        match number {
            Some(number) => Ok(Node { kind: Kind::Int(number), span: start..span.end }),
            None => Err(too_large(span)),
        }
    }

    fn postfix(&mut self) -> Result<Node, Fault> {
        let mut node = self.primary()?;
        let mut steps = 0;
        loop {
            let opened = self.span();
            let (kind, end) = if self.take(".") {
                let span = self.span();
                let Some(Word { token: Token::Name(name), .. }) = self.advance() else {
                    self.next -= 1;
                    return Err(self.unexpected("a name should follow the point", "for example `user.name`"));
                };
                let opened = self.span();
                if self.take("(") {
                    let (arguments, end) = self.list(")", &opened, "the call")?;
                    (Kind::Call(Some(Box::new(node.clone())), name, arguments), end)
                } else {
                    (Kind::Member(Box::new(node.clone()), name), span.end)
                }
            } else if self.take("[") {
                let key = self.expression()?;
                let end = self.expect("]", &opened, "the bracket")?.end;
                (Kind::Index(Box::new(node.clone()), Box::new(key)), end)
            } else {
                return Ok(node);
            };
            steps += 1;
            if steps > MAX_NESTING {
                return Err(syntax(opened, "too many steps in one name", "shorten it"));
            }
            let span = node.span.start..end;
            node = Node { kind, span };
        }
    }

    fn primary(&mut self) -> Result<Node, Fault> {
        let span = self.span();
        let kind = match self.peek().clone() {
            Token::Int(number) => Kind::Int(i64::try_from(number).map_err(|_| too_large(span.clone()))?),
            Token::Text(text) => Kind::Text(text),
            Token::Name(name) if name == "true" => Kind::Bool(true),
            Token::Name(name) if name == "false" => Kind::Bool(false),
            Token::Name(name)
                if !matches!(name.as_str(), "in" | "and" | "or" | "not" | "AND" | "OR" | "NOT") =>
            {
                self.next += 1;
                let opened = self.span();
                if !self.take("(") {
                    return Ok(Node { kind: Kind::Name(name), span });
                }
                let (arguments, end) = self.list(")", &opened, "the call")?;
                return Ok(Node { kind: Kind::Call(None, name, arguments), span: span.start..end });
            }
            Token::Symbol("(") => {
                self.next += 1;
                let inner = self.expression()?;
                let end = self.expect(")", &span, "the parenthesis")?.end;
                return Ok(Node { kind: inner.kind, span: span.start..end });
            }
            Token::Symbol("[") => {
                self.next += 1;
                let (entries, end) = self.list("]", &span, "the list")?;
                return Ok(Node { kind: Kind::List(entries), span: span.start..end });
            }
            Token::End => {
                return Err(syntax(
                    span,
                    "something is missing at the end",
                    "write a value, for example `user.name`",
                ));
            }
            Token::Name(_) | Token::Symbol(_) => {
                return Err(self.unexpected(
                    "a value is missing here",
                    "write a name, a number or a text in quotation marks",
                ));
            }
        };
        self.next += 1;
        Ok(Node { kind, span })
    }

    /// Entries up to the closing symbol; gives the end of it.
    fn list(&mut self, close: &str, opened: &Range<usize>, what: &str) -> Result<(Vec<Node>, usize), Fault> {
        let mut entries = Vec::new();
        loop {
            let span = self.span();
            if self.take(close) {
                return Ok((entries, span.end));
            }
            if entries.len() >= MAX_LIST {
                return Err(syntax(
                    span,
                    format!("{what} has more than {MAX_LIST} entries"),
                    "split it over several rules",
                ));
            }
            entries.push(self.expression()?);
            if !self.take(",") {
                let end = self.expect(close, opened, what)?.end;
                return Ok((entries, end));
            }
        }
    }
}

fn too_large(span: Range<usize>) -> Fault {
    syntax(span, "the number is too large", "write a smaller one")
}
