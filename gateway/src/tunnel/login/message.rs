//! What a VPN client sends while it logs in, as XML or as the form of an older one, bounded and decoded.
//!
//! ```text
//!  <config-auth type="init"><group-select/>…                      POST, or GET by clients that forgot
//!  <config-auth type="auth-reply"><opaque/><auth><username/>…     POST
//!  group_list=…&username=…&password=…                             POST by clients without XML
//!  nothing                                                        GET by those
//! ```
//!
//! The body itself says which it is: clients send some of them with the content type of another.

use std::fmt;

use roxmltree::{Document, Node, ParsingOptions};
use tidegate_core::Code;

use crate::login::form::Form;

#[cfg(test)]
mod tests;

/// Longest body that is looked at.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024;

/// Most elements and texts of a body.
const NODES_MAX: u32 = 256;

/// Most attributes of a body, counted by what each has: the parser compares each with all before it.
const ATTRIBUTES_MAX: usize = 64;

/// Most fields of an answered form.
const FIELDS_MAX: usize = 16;

/// Longest text of a field, in bytes.
const FIELD_BYTES_MAX: usize = 1_024;

/// Longest text that is handed back to us, in bytes.
const OPAQUE_BYTES_MAX: usize = 2_048;

/// What a client is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// It begins, or begins again with another group.
    Beginning,
    /// It answers a form.
    Answering,
    /// It logs out.
    Leaving,
}

/// What a client says.
pub(crate) struct Said {
    /// What it is at.
    pub(crate) at: At,
    /// The group it chose, by value or by label.
    pub(crate) group: Option<String>,
    /// What we gave it to hand back; only XML clients do.
    pub(crate) opaque: Option<String>,
    /// The fields of the form it answers.
    pub(crate) form: Form,
}

impl fmt::Debug for Said {
    /// What is handed back to us is a right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, group, opaque, form } = self;
        let opaque = opaque.is_some();
        f.debug_struct("Said")
            .field("at", at)
            .field("group", group)
            .field("opaque", &opaque)
            .field("form", form)
            .finish()
    }
}

impl Said {
    /// What `body` says.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Code> {
        if body.len() > BODY_BYTES_MAX {
            return Err(Code::BodyTooLarge);
        }
        let text = body.trim_ascii();
        match text.first() {
            None => Ok(Self { at: At::Beginning, group: None, opaque: None, form: Form::default() }),
            Some(b'<') => Self::from_xml(text).ok_or(Code::FormInvalid),
            Some(_) => {
                let form = Form::parse(text)?;
                let group = Some(form.get("group_list").to_owned()).filter(|group| !group.is_empty());
                Ok(Self { at: At::Answering, group, opaque: None, form })
            }
        }
    }

    fn from_xml(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        if text.matches('=').count() > ATTRIBUTES_MAX {
            return None;
        }
        // No document type, so no entities of its own: nothing grows while it is read.
        let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options).ok()?;
        let root = document.root_element();
        if root.tag_name().name() != "config-auth" {
            return None;
        }
        let at = match root.attribute("type")? {
            "init" => At::Beginning,
            "auth-reply" => At::Answering,
            "logout" => At::Leaving,
            _ => return None,
        };
        let child = |name: &str| root.children().find(|node| node.has_tag_name(name));
        let opaque = child("opaque").map(|node| content(node, OPAQUE_BYTES_MAX));
        let group = child("group-select").map(|node| content(node, FIELD_BYTES_MAX));
        let mut fields = Vec::new();
        for node in child("auth").iter().flat_map(Node::children).filter(Node::is_element) {
            if fields.len() == FIELDS_MAX {
                return None;
            }
            fields.push((node.tag_name().name().to_owned(), content(node, FIELD_BYTES_MAX)?));
        }
        let (opaque, group) = (all_or_nothing(opaque)?, all_or_nothing(group)?);
        Some(Self { at, group: group.filter(|group| !group.is_empty()), opaque, form: Form::of(fields) })
    }
}

/// The outer `None` for a text that is there but too long.
fn all_or_nothing(text: Option<Option<String>>) -> Option<Option<String>> {
    match text {
        Some(text) => text.map(Some),
        None => Some(None),
    }
}

/// The text in an element, at most `most` bytes; `None` when there is more, or what is never typed.
fn content(node: Node<'_, '_>, most: usize) -> Option<String> {
    let mut all = String::new();
    for text in node.children().filter_map(|child| if child.is_text() { child.text() } else { None }) {
        if all.len() + text.len() > most {
            return None;
        }
        all.push_str(text);
    }
    Some(all)
}
