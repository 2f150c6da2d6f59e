//! The function under the attribute.

use proc_macro2::{Ident, TokenStream};
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, Error, FnArg, Meta, Result, ReturnType, Signature, Type, TypePath, Visibility};

use crate::errors::Errors;

const PARAMETERS: &str = "a consumer takes `tx: &TeamTx` (or `ctx: &ConsumerContext`, with `mode = durable`) and then \
                          `event: &Event` or `events: &[Event]`";

/// What the generated code has to know of the function, its signature checked.
pub struct Function {
    /// The `#[cfg]`s that stand below the attribute: what is generated is there when the function is.
    pub cfgs: Vec<Attribute>,
    pub vis: Visibility,
    pub ident: Ident,
    /// The first parameter, for what is wrong with it.
    pub first: Type,
    pub by: By,
    pub takes: Takes,
    pub output: Type,
}

/// By what the function reaches the database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `&TeamTx`: in the transaction.
    Transaction,
    /// `&ConsumerContext`: after its commit.
    Context,
}

/// What the function is given.
#[derive(Clone, Copy)]
pub enum Takes {
    /// `&Event`
    Each,
    /// `&[Event]`
    Slice,
}

/// An item up to its body. The body is the compiler's business: it may use syntax that `syn` doesn't know.
struct Head {
    attrs: Vec<Attribute>,
    vis: Visibility,
    sig: Signature,
}

impl Parse for Head {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let head = Self {
            attrs: input.call(Attribute::parse_outer)?,
            vis: input.parse()?,
            sig: input.parse()?,
        };
        input.parse::<TokenStream>()?;
        Ok(head)
    }
}

impl Function {
    pub fn parse(item: &TokenStream) -> Result<Self> {
        let Head { attrs, vis, sig } = Head::parse
            .parse2(item.clone())
            .map_err(|_| Error::new_spanned(item, "#[event_consumer] goes on an `async fn`"))?;

        let mut errors = Errors::default();
        errors.take(check_kind(&sig));
        let parameters = errors.take(check_parameters(&sig));
        let output = errors.take(check_output(&sig));
        errors.into_result()?;

        match (parameters, output) {
            (Some((first, by, takes)), Some(output)) => Ok(Self {
                cfgs: attrs.into_iter().filter(is_cfg).collect(),
                vis,
                ident: sig.ident,
                first,
                by,
                takes,
                output,
            }),
            _ => Err(Error::new_spanned(&sig, PARAMETERS)),
        }
    }
}

fn is_cfg(attribute: &Attribute) -> bool {
    matches!(&attribute.meta, Meta::List(list) if list.path.is_ident("cfg"))
}

/// A plain `async fn` without type parameters: anything else can't be called by the registry.
fn check_kind(sig: &Signature) -> Result<()> {
    let mut errors = Errors::default();
    if sig.asyncness.is_none() {
        errors.push(Error::new_spanned(sig.fn_token, "a consumer is an `async fn`"));
    }
    if let Some(word) = &sig.unsafety {
        errors.push(Error::new_spanned(
            word,
            "a consumer is a plain `async fn`, not an unsafe one",
        ));
    }
    if let Some(abi) = &sig.abi {
        errors.push(Error::new_spanned(
            abi,
            "a consumer is a plain `async fn`, not an extern one",
        ));
    }
    if !sig.generics.params.is_empty() {
        errors.push(Error::new_spanned(
            &sig.generics,
            "a consumer has no type parameters or lifetimes: nobody could choose them",
        ));
    } else if let Some(clause) = &sig.generics.where_clause {
        errors.push(Error::new_spanned(
            clause,
            "a consumer has no type parameters, so nothing to constrain",
        ));
    }
    errors.into_result()
}

fn check_parameters(sig: &Signature) -> Result<(Type, By, Takes)> {
    if let Some(receiver) = sig.receiver() {
        return Err(Error::new_spanned(
            receiver,
            "a consumer is a free function, without `self`",
        ));
    }
    let types: Vec<&Type> = sig
        .inputs
        .iter()
        .filter_map(|input| match input {
            FnArg::Typed(parameter) => Some(&*parameter.ty),
            FnArg::Receiver(_) => None,
        })
        .collect();
    let [tx, events] = types[..] else {
        let what = format!("{PARAMETERS}; this one takes {}", types.len());
        return Err(match sig.inputs.iter().nth(2) {
            Some(third) => Error::new_spanned(third, what),
            None => Error::new(sig.paren_token.span.join(), what),
        });
    };

    let mut errors = Errors::default();
    let by = match behind_reference(tx) {
        Some(first) if is_named(first, "TeamTx") => Some(By::Transaction),
        Some(first) if is_named(first, "ConsumerContext") => Some(By::Context),
        _ => None,
    };
    if by.is_none() {
        errors.push(Error::new_spanned(
            tx,
            "the first parameter of a consumer is `tx: &TeamTx`, or `ctx: &ConsumerContext` with `mode = durable`",
        ));
    }
    let takes = match behind_reference(events) {
        Some(event) if is_named(event, "Event") => Some(Takes::Each),
        Some(Type::Slice(slice)) if is_named(plain(&slice.elem), "Event") => Some(Takes::Slice),
        _ => None,
    };
    if takes.is_none() {
        errors.push(Error::new_spanned(
            events,
            "the second parameter of a consumer is `event: &Event`, for one call an event, or `events: &[Event]`, for \
             one call a batch",
        ));
    }
    errors.into_result()?;
    match (by, takes) {
        (Some(by), Some(takes)) => Ok((tx.clone(), by, takes)),
        _ => Err(Error::new_spanned(events, PARAMETERS)),
    }
}

fn check_output(sig: &Signature) -> Result<Type> {
    match &sig.output {
        ReturnType::Type(_, output) => Ok((**output).clone()),
        ReturnType::Default => Err(Error::new_spanned(&sig.ident, "a consumer returns `ConsumerResult`")),
    }
}

/// The type behind `&` or `&'_`; a named lifetime would ask for more than the registry can promise.
fn behind_reference(ty: &Type) -> Option<&Type> {
    match plain(ty) {
        Type::Reference(reference)
            if reference.mutability.is_none() && reference.lifetime.as_ref().is_none_or(|name| name.ident == "_") =>
        {
            Some(plain(&reference.elem))
        }
        _ => None,
    }
}

/// The type without the invisible or visible parentheses that a `macro_rules!` leaves around it.
fn plain(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => plain(&group.elem),
        Type::Paren(paren) => plain(&paren.elem),
        other => other,
    }
}

/// Whether a type's path ends in `name`. A macro sees words, not types; the compiler checks the rest.
fn is_named(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(TypePath { qself: None, path })
        if path.segments.last().is_some_and(|last| last.ident == name && last.arguments.is_none()))
}
