//! Parses the attribute's arguments.
//!
//! Each mistake becomes an error at the wrong argument, and all errors are reported at once.

use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Lit, LitStr, Meta, MetaNameValue, Path, Result, Token};

use crate::errors::Errors;

/// The variants of `daybook::events::EventType`, on which this crate can't depend. The program `forms.rs` in
/// `tests/tests/programs` fails if the two lists differ.
const EVENT_TYPES: [&str; 6] = ["Created", "Updated", "Deleted", "StateChanged", "Restored", "Custom"];

/// The checked arguments of the attribute.
pub struct Arguments {
    pub event_types: EventTypes,
    pub object_type: Option<LitStr>,
    pub mode: Mode,
    pub name: Option<LitStr>,
}

pub enum EventTypes {
    /// The word `all`.
    All,
    /// Paths as they were written, so that the compiler resolves them at their place.
    Listed(Vec<Path>),
}

#[derive(Clone, Copy)]
pub enum Mode {
    Abort,
    Isolate,
    Durable,
}

impl Arguments {
    pub fn parse(tokens: TokenStream) -> Result<Self> {
        let arguments = Punctuated::<Argument, Token![,]>::parse_terminated.parse2(tokens)?;

        let mut errors = Errors::default();
        let mut found = ParsedArguments::default();
        for Argument(argument) in arguments {
            errors.take(found.add(argument));
        }
        if let Some(all) = &found.all
            && !found.listed.is_empty()
        {
            errors.push(Error::new_spanned(
                all,
                "`all` already stands for every event type; leave the others out",
            ));
        }
        // A mistyped event type should give one error, not two.
        if found.all.is_none() && found.listed.is_empty() && errors.is_empty() {
            errors.push(Error::new(
                Span::call_site(),
                "at least one event type is needed: #[event_consumer(EventType::Created)], or the word `all` for every \
                 type",
            ));
        }
        if let Some(Mode::Durable) = found.mode {
            errors.take(durable_name(found.name.as_ref()));
        }
        errors.into_result()?;

        Ok(Self {
            event_types: if found.all.is_some() {
                EventTypes::All
            } else {
                EventTypes::Listed(found.listed)
            },
            object_type: found.object_type,
            mode: found.mode.unwrap_or(Mode::Abort),
            name: found.name,
        })
    }
}

/// Checks the name of a durable consumer. Its cursor and its jobs are kept under the name, so the name must stay the
/// same when the function moves, and it must be valid as a job's name.
fn durable_name(name: Option<&LitStr>) -> Result<()> {
    let Some(name) = name else {
        return Err(Error::new(
            Span::call_site(),
            "a durable consumer needs a name, because its progress is stored under the name: `name = \"crm\"`",
        ));
    };
    let text = name.value();
    let shaped = text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.len() <= 63
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte));
    if shaped {
        return Ok(());
    }
    Err(Error::new_spanned(
        name,
        "the name of a durable consumer has 1 to 63 characters of a-z, 0-9, `_`, `-` and `.`, and begins with a letter",
    ))
}

/// One argument, not yet checked.
struct Argument(Meta);

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(Lit) {
            return Err(input.error("an event type is written as a path, such as `EventType::Created`"));
        }
        Ok(Self(input.parse()?))
    }
}

/// The arguments that were parsed so far.
#[derive(Default)]
struct ParsedArguments {
    all: Option<Path>,
    listed: Vec<Path>,
    object_type: Option<LitStr>,
    mode: Option<Mode>,
    name: Option<LitStr>,
}

impl ParsedArguments {
    fn add(&mut self, argument: Meta) -> Result<()> {
        match argument {
            Meta::Path(path) => self.add_word(path),
            Meta::NameValue(pair) if pair.path.is_ident("object_type") => {
                set_once(&mut self.object_type, &pair, string(&pair, "campaign"))
            }
            Meta::NameValue(pair) if pair.path.is_ident("name") => {
                set_once(&mut self.name, &pair, string(&pair, "crm"))
            }
            Meta::NameValue(pair) if pair.path.is_ident("mode") => set_once(&mut self.mode, &pair, mode(&pair)),
            other => Err(not_an_argument(other.path())),
        }
    }

    fn add_word(&mut self, path: Path) -> Result<()> {
        if path.is_ident("all") {
            return match self.all.replace(path.clone()) {
                None => Ok(()),
                Some(_) => Err(Error::new_spanned(path, "`all` is given twice")),
            };
        }
        if let Some(word) = path.get_ident() {
            let word = word.to_string();
            if EVENT_TYPES.contains(&word.as_str()) {
                return Err(Error::new_spanned(
                    path,
                    format!("an event type is written with its enum: `EventType::{word}`"),
                ));
            }
            return Err(not_an_argument(&path));
        }
        let variant = last_word(&path);
        if !EVENT_TYPES.contains(&variant.as_str()) {
            return Err(Error::new_spanned(
                &path,
                format!(
                    "unknown event type `{variant}`; one of {}, or the word `all` for every type",
                    EVENT_TYPES.join(", ")
                ),
            ));
        }
        if self.listed.iter().any(|listed| last_word(listed) == variant) {
            return Err(Error::new_spanned(
                &path,
                format!("event type `{variant}` is given twice"),
            ));
        }
        self.listed.push(path);
        Ok(())
    }
}

fn last_word(path: &Path) -> String {
    path.segments
        .last()
        .map(|segment| segment.ident.to_string())
        .unwrap_or_default()
}

/// Returns the error for an unknown argument, an argument without its value, or one with its value in parentheses.
fn not_an_argument(path: &Path) -> Error {
    let key = last_word(path);
    let message = match key.as_str() {
        "mode" => "`mode` needs a value: `mode = abort`, `mode = isolate` or `mode = durable`".to_owned(),
        "object_type" | "name" => format!("`{key}` needs a value: `{key} = \"…\"`"),
        _ => format!(
            "unknown argument `{key}`; there are event types (`EventType::Created`, or the word `all`), `object_type = \
             \"…\"`, `mode = …` and `name = \"…\"`"
        ),
    };
    Error::new_spanned(path, message)
}

/// Fills `slot` with the argument's value; a second value is an error, even if it is the same.
fn set_once<T>(slot: &mut Option<T>, pair: &MetaNameValue, value: Result<T>) -> Result<()> {
    if slot.is_some() {
        return Err(Error::new_spanned(
            &pair.path,
            format!("`{}` is given twice", last_word(&pair.path)),
        ));
    }
    *slot = Some(value?);
    Ok(())
}

fn string(pair: &MetaNameValue, example: &str) -> Result<LitStr> {
    let key = last_word(&pair.path);
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text), ..
    }) = &pair.value
    else {
        return Err(Error::new_spanned(
            &pair.value,
            format!("`{key}` takes a string literal: `{key} = \"{example}\"`"),
        ));
    };
    if text.value().trim().is_empty() {
        return Err(Error::new_spanned(
            text,
            format!("`{key}` is empty; leave it out or write `{key} = \"{example}\"`"),
        ));
    }
    Ok(text.clone())
}

fn mode(pair: &MetaNameValue) -> Result<Mode> {
    let word = match &pair.value {
        Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => {
            return Err(Error::new_spanned(
                &pair.value,
                "a mode is a word without quotes: `mode = abort`, `mode = isolate` or `mode = durable`",
            ));
        }
        _ => None,
    };
    match word.as_deref() {
        Some("abort") => Ok(Mode::Abort),
        Some("isolate") => Ok(Mode::Isolate),
        Some("durable") => Ok(Mode::Durable),
        Some(other) => Err(Error::new_spanned(
            &pair.value,
            format!("unknown mode `{other}`; use `abort`, `isolate` or `durable`"),
        )),
        None => Err(Error::new_spanned(
            &pair.value,
            "unknown mode; use `abort`, `isolate` or `durable`",
        )),
    }
}
