//! `#[derive(LabelSet)]`: a struct of one to four label enums, numbered as the tuple of its fields is.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Ident, Result};

use crate::attributes::Mistakes;

/// Most labels of a family.
const MOST: usize = 4;

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => &fields.named,
            _ => return Err(shape(input)),
        },
        _ => return Err(shape(input)),
    };
    let mut mistakes = Mistakes::default();
    if !input.generics.params.is_empty() {
        mistakes.add(Error::new_spanned(&input.generics, "a label set is known at compile time: no generics"));
    }
    if fields.is_empty() {
        mistakes.add(shape(input));
    }
    if let Some(fifth) = fields.iter().nth(MOST) {
        mistakes.add(Error::new_spanned(
            fifth,
            format!(
                "a family has at most {MOST} labels, this set has {}: every label multiplies the series",
                fields.len()
            ),
        ));
    }
    mistakes.finish()?;

    let set = &input.ident;
    let names = fields.iter().filter_map(|field| field.ident.as_ref());
    // Each field's part is where its type stands, so that the compiler points at a type that is no label.
    let parts = |part: &str| {
        let part = Ident::new(part, Span::call_site());
        fields.iter().map(move |field| {
            let ty = &field.ty;
            quote_spanned! { ty.span() => <#ty as ::tachograph::LabelValue>::#part }
        })
    };
    let (counts, factors, keys, values) = (parts("COUNT"), parts("COUNT"), parts("KEY"), parts("VALUES"));
    let places = parts("index");
    let check = quote_spanned! { set.span() => const _: () = ::tachograph::expansion::check_label_set::<#set>(); };
    Ok(quote! {
        #[automatically_derived]
        impl ::tachograph::LabelSet for #set {
            const COUNT: usize = 1 #(* #counts)*;
            const NAMES: &'static [&'static str] = &[#(#keys),*];

            fn sets() -> ::std::vec::Vec<::std::vec::Vec<&'static str>> {
                ::tachograph::expansion::product(&[#(#values),*])
            }

            #[inline]
            fn index(self) -> usize {
                let index = 0;
                #(let index = index * #factors + #places(self.#names);)*
                index
            }
        }
        #check
    })
}

fn shape(input: &DeriveInput) -> Error {
    Error::new(
        input.ident.span(),
        "a label set is a struct with named fields, one to four, each a label's enum; \
         for a single label derive `LabelValue` on its enum",
    )
}
