//! Parses and checks the function under the attribute.

use proc_macro2::{Ident, TokenStream};
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, Error, FnArg, Meta, Result, ReturnType, Signature, Type, TypePath, Visibility};

use crate::errors::Errors;

const PARAMETERS: &str = "a consumer takes `tx: &TeamTx` (or `ctx: &ConsumerContext`, with `mode = durable`) and then \
                          `event: &Event` or `events: &[Event]`";

/// What the generated code needs from the function, after its signature was checked.
pub struct Function {
    /// The `#[cfg]`s below the attribute: the generated code has them too, so that it exists only when the function
    /// does.
    pub cfgs: Vec<Attribute>,
    pub vis: Visibility,
    pub ident: Ident,
    /// The type of the first parameter, for errors about it.
    pub first: Type,
    pub access: Access,
    pub takes: EventParameter,
    pub output: Type,
}

/// How the function reaches the database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `&TeamTx`: in the transaction.
    Transaction,
    /// `&ConsumerContext`: after its commit.
    Context,
}

/// What the function receives in one call.
#[derive(Clone, Copy)]
pub enum EventParameter {
    /// `&Event`
    Each,
    /// `&[Event]`
    Slice,
}

/// An item without its body. The body is not parsed, because it may use syntax that `syn` doesn't know.
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
            (Some((first, access, takes)), Some(output)) => Ok(Self {
                cfgs: attrs.into_iter().filter(is_cfg).collect(),
                vis,
                ident: sig.ident,
                first,
                access,
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

/// Checks that the function is a plain `async fn` without type parameters, because the registry can't call anything
/// else.
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
            "a consumer has no type parameters or lifetimes: the registry could not choose them",
        ));
    } else if let Some(clause) = &sig.generics.where_clause {
        errors.push(Error::new_spanned(
            clause,
            "a consumer has no type parameters, so it has nothing to constrain",
        ));
    }
    errors.into_result()
}

fn check_parameters(sig: &Signature) -> Result<(Type, Access, EventParameter)> {
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
    let access = match behind_reference(tx) {
        Some(first) if is_named(first, "TeamTx") => Some(Access::Transaction),
        Some(first) if is_named(first, "ConsumerContext") => Some(Access::Context),
        _ => None,
    };
    if access.is_none() {
        errors.push(Error::new_spanned(
            tx,
            "the first parameter of a consumer is `tx: &TeamTx`, or `ctx: &ConsumerContext` with `mode = durable`",
        ));
    }
    let takes = match behind_reference(events) {
        Some(event) if is_named(event, "Event") => Some(EventParameter::Each),
        Some(Type::Slice(slice)) if is_named(plain(&slice.elem), "Event") => Some(EventParameter::Slice),
        _ => None,
    };
    if takes.is_none() {
        errors.push(Error::new_spanned(
            events,
            "the second parameter of a consumer is `event: &Event`, for one call per event, or `events: &[Event]`, for \
             one call per batch",
        ));
    }
    errors.into_result()?;
    match (access, takes) {
        (Some(access), Some(takes)) => Ok((tx.clone(), access, takes)),
        _ => Err(Error::new_spanned(events, PARAMETERS)),
    }
}

fn check_output(sig: &Signature) -> Result<Type> {
    match &sig.output {
        ReturnType::Type(_, output) => Ok((**output).clone()),
        ReturnType::Default => Err(Error::new_spanned(&sig.ident, "a consumer returns `ConsumerResult`")),
    }
}

/// Returns the type behind `&` or `&'_`. A named lifetime is refused, because it could require more than the registry
/// can promise.
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

/// Returns the type without the invisible or visible parentheses that a `macro_rules!` leaves around it.
fn plain(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => plain(&group.elem),
        Type::Paren(paren) => plain(&paren.elem),
        other => other,
    }
}

/// Returns whether a type's path ends in `name`. A macro sees names, not types; the compiler checks the types.
fn is_named(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(TypePath { qself: None, path })
        if path.segments.last().is_some_and(|last| last.ident == name && last.arguments.is_none()))
}
