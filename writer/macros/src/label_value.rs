//! `#[derive(LabelValue)]`: an enum without fields.

use heck::ToSnakeCase;
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Variant};

use crate::attributes::{Mistakes, once, settings, string};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "the values of a label are an enum's variants: derive `LabelValue` on an enum without fields",
        ));
    };
    let mut mistakes = Mistakes::default();
    if !input.generics.params.is_empty() {
        mistakes.add(Error::new_spanned(&input.generics, "a label's values are known at compile time: no generics"));
    }
    if data.variants.is_empty() {
        mistakes.add(Error::new(input.ident.span(), "a label needs at least one value: this enum has no variant"));
    }
    let mut name = None;
    mistakes.ok(settings(&input.attrs, "label", "`name = \"..\"`", |meta| {
        if meta.path.is_ident("name") { once(&mut name, meta, string) } else { Ok(false) }
    }));
    let name =
        name.unwrap_or_else(|| LitStr::new(&input.ident.unraw().to_string().to_snake_case(), input.ident.span()));
    let values: Vec<LitStr> = data.variants.iter().filter_map(|variant| mistakes.ok(value(variant))).collect();
    mistakes.finish()?;

    let enumeration = &input.ident;
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let index = if data.variants.iter().any(|variant| variant.discriminant.is_some()) {
        let places = 0..variants.len();
        quote! { match self { #(Self::#variants => #places,)* } }
    } else {
        quote! { self as usize }
    };
    // Each check is where its mistake would be, so that the compiler points at that.
    let check_name = quote_spanned! { name.span() =>
        const _: () = ::tachograph::expansion::check_label_name(<#enumeration as ::tachograph::LabelValue>::KEY);
    };
    let check_values = values.iter().enumerate().map(|(place, value)| {
        quote_spanned! { value.span() =>
            const _: () = ::tachograph::expansion::check_label_value::<#enumeration>(#place);
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl ::tachograph::LabelValue for #enumeration {
            const KEY: &'static str = #name;
            const VALUES: &'static [&'static str] = &[#(#values),*];

            fn all() -> &'static [Self] {
                &[#(Self::#variants),*]
            }

            #[inline]
            fn index(self) -> usize {
                #index
            }
        }
        #check_name
        #(#check_values)*
    })
}

fn value(variant: &Variant) -> Result<LitStr> {
    let mut mistakes = Mistakes::default();
    if !matches!(variant.fields, Fields::Unit) {
        mistakes.add(Error::new_spanned(
            &variant.fields,
            "a label's value is a variant without fields: what differs from case to case is no closed set",
        ));
    }
    let mut value = None;
    mistakes.ok(settings(&variant.attrs, "label", "`value = \"..\"`", |meta| {
        if meta.path.is_ident("value") { once(&mut value, meta, string) } else { Ok(false) }
    }));
    mistakes.finish()?;
    Ok(value.unwrap_or_else(|| LitStr::new(&variant.ident.unraw().to_string().to_snake_case(), variant.ident.span())))
}
