//! The attribute `#[event_consumer]`. Use it as `daybook::prelude::event_consumer`, or as `daybook_events::event_consumer`
//! in a program that depends on that crate alone. The generated code uses the crate that is in the program's
//! `Cargo.toml`.

mod arguments;
mod errors;
mod function;

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::arguments::{Arguments, EventTypes, Mode};
use crate::errors::Errors;
use crate::function::{Access, EventParameter, Function};

/// Makes an `async fn` a consumer of events.
///
/// ```ignore
/// #[event_consumer(EventType::Created, EventType::Updated)]
/// async fn greet(tx: &TeamTx, event: &Event) -> ConsumerResult { Ok(()) }
///
/// #[event_consumer(EventType::Updated, object_type = "campaign", mode = isolate, name = "counts")]
/// async fn count(tx: &TeamTx, events: &[Event]) -> ConsumerResult { Ok(()) }
///
/// #[event_consumer(EventType::StateChanged, mode = durable, name = "crm")]
/// async fn push_to_crm(ctx: &ConsumerContext, event: &Event) -> ConsumerResult { Ok(()) }
///
/// #[event_consumer(all)]
/// async fn mirror(tx: &TeamTx, events: &[Event]) -> ConsumerResult { Ok(()) }
/// ```
///
/// | argument | meaning | without it |
/// |---|---|---|
/// | `EventType::…`, one or more, or `all` | the types of the events that it receives | an error |
/// | `object_type = "…"` | it receives only events of this `OBJECT_TYPE` | events of every type |
/// | `mode = abort` or `isolate` | what its failure does: `abort` prevents the commit, `isolate` undoes only the consumer's own writes | `abort` |
/// | `mode = durable` | it runs after the commit, as a job, at least once | |
/// | `name = "…"` | its name, unique in the program; its failures are stored under it | the function's path; a durable consumer must have it |
///
/// A consumer that takes `&Event` is called once for each event. One that takes `&[Event]` is called once for all
/// events of one call of a helper.
///
/// The function itself does not change, so a test can call it. The attribute adds a type that has the function's name
/// and visibility. The type has one constant, as in `Consumers::of([greet::CONSUMER])`. `use notices::greet` imports
/// the function and the type. The function's scope can't contain a module or another type with this name. The
/// attribute also registers the consumer with the linker, so that `Consumers::linked()` finds it.
#[proc_macro_attribute]
pub fn event_consumer(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    let registration = register(arguments.into(), &item).unwrap_or_else(syn::Error::into_compile_error);
    // Emit the function even if there are errors, so that its callers don't fail as well.
    quote! { #item #registration }.into()
}

/// Returns the path of the events crate in the program that uses the attribute: `daybook::events`, or `daybook_events`
/// if the program depends on that crate alone.
fn events_crate() -> TokenStream {
    let named = |package: &str, own_name: &str| {
        let name = match crate_name(package).ok()? {
            // The attribute is used in the package itself, or in its tests or examples.
            FoundCrate::Itself => own_name.to_owned(),
            FoundCrate::Name(name) => name,
        };
        Some(Ident::new(&name, Span::call_site()))
    };
    // It comes first: a program that depends on it may have `daybook` for its tests only, and `Cargo.toml` lists both.
    if let Some(events) = named("daybook-events", "daybook_events") {
        return quote! { ::#events };
    }
    match named("daybook", "daybook") {
        Some(daybook) => quote! { ::#daybook::events },
        // The compiler then says that the program doesn't depend on `daybook`.
        None => quote! { ::daybook::events },
    }
}

fn register(arguments: TokenStream, item: &TokenStream) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    let arguments = errors.take(Arguments::parse(arguments));
    let function = errors.take(Function::parse(item));
    errors.into_result()?;
    Ok(match (arguments, function) {
        (Some(arguments), Some(function)) => {
            check_access(&arguments, &function)?;
            registration(&arguments, &function)
        }
        _ => TokenStream::new(),
    })
}

/// Checks that the first parameter fits the mode: a transaction for `abort` and `isolate`, a context for `durable`.
fn check_access(arguments: &Arguments, function: &Function) -> syn::Result<()> {
    let message = match (arguments.mode, function.access) {
        (Mode::Durable, Access::Transaction) => {
            "a durable consumer runs after the commit: its first parameter is `ctx: &ConsumerContext`, and `ctx.begin()` \
             begins a transaction"
        }
        (Mode::Abort | Mode::Isolate, Access::Context) => {
            "a consumer that takes `ctx: &ConsumerContext` runs after the commit: write `mode = durable` and a `name`"
        }
        _ => return Ok(()),
    };
    Err(syn::Error::new_spanned(&function.first, message))
}

fn registration(arguments: &Arguments, function: &Function) -> TokenStream {
    let Function {
        cfgs,
        vis,
        ident,
        takes,
        access,
        output,
        first: _,
    } = function;

    let events = events_crate();
    let event_types = match &arguments.event_types {
        EventTypes::All => quote! { #events::EventType::ALL },
        EventTypes::Listed(paths) => quote! { &[#(#paths),*] },
    };
    let object_type = match &arguments.object_type {
        Some(only) => quote! { ::core::option::Option::Some(#only) },
        None => quote! { ::core::option::Option::None },
    };
    let mode = match arguments.mode {
        Mode::Abort => quote! { #events::Mode::Abort },
        Mode::Isolate => quote! { #events::Mode::Isolate },
        Mode::Durable => quote! { #events::Mode::Durable },
    };
    let function_name = ident.unraw().to_string();
    let name = match &arguments.name {
        Some(name) => quote! { #name },
        None => quote! { ::core::concat!(::core::module_path!(), "::", #function_name) },
    };
    let takes = match (access, takes) {
        (Access::Transaction, EventParameter::Each) => quote! { Each },
        (Access::Transaction, EventParameter::Slice) => quote! { Slice },
        (Access::Context, EventParameter::Each) => quote! { DurableEach },
        (Access::Context, EventParameter::Slice) => quote! { DurableSlice },
    };
    // If the future has the wrong type, the compiler reports the error at the return type, which causes it.
    let call = quote_spanned! { output.span() => |tx, events| ::std::boxed::Box::pin(#ident(tx, events)) };
    let type_doc = format!("The consumer `{function_name}` as a value: `{function_name}::CONSUMER`.");

    // An empty enum is used instead of a module, because a module inside a function's body couldn't see the
    // function.
    quote! {
        #(#cfgs)*
        #[doc = #type_doc]
        #[allow(non_camel_case_types, reason = "it has the function's name")]
        #vis enum #ident {}

        #(#cfgs)*
        impl #ident {
            /// For `Consumers::of`.
            #vis const CONSUMER: &'static #events::ConsumerDef = &#events::ConsumerDef {
                name: #name,
                location: ::core::panic::Location::caller(),
                event_types: #event_types,
                object_type: #object_type,
                mode: #mode,
                run: #events::RunFn::#takes(#call),
            };
        }

        #(#cfgs)*
        #events::__private::inventory::submit! { #ident::CONSUMER }
    }
}
