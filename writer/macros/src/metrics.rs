//! `#[derive(Metrics)]`: a struct of handles and of groups.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Expr, Field, Fields, Ident, LitStr, Meta, Result};

use crate::attributes::{Mistakes, once, prefix, settings, string};

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
        mistakes.add(Error::new_spanned(&input.generics, "a group's families are known at compile time: no generics"));
    }
    let mut group_prefix = None;
    mistakes.ok(settings(&input.attrs, "metrics", "`prefix = \"..\"`", |meta| {
        if meta.path.is_ident("prefix") { once(&mut group_prefix, meta, prefix) } else { Ok(false) }
    }));
    if let Some(attribute) = input.attrs.iter().find(|attribute| attribute.path().is_ident("metric")) {
        mistakes.add(Error::new_spanned(
            attribute,
            "`#[metric(..)]` is for fields; what holds for the whole group is `#[metrics(prefix = \"..\")]`",
        ));
    }
    let group_prefix = group_prefix.unwrap_or_else(|| LitStr::new("", Span::call_site()));
    let members: Vec<Member<'_>> =
        fields.iter().filter_map(|field| mistakes.ok(Member::new(field, &group_prefix))).collect();
    mistakes.finish()?;

    let group = &input.ident;
    let rows = members.iter().map(|member| &member.row);
    let handles = members.iter().enumerate().map(|(place, member)| member.handle(place));
    let checks = members.iter().enumerate().map(|(place, member)| {
        quote_spanned! { member.at =>
            const _: () = <#group as ::tachograph::Metrics>::MEMBERS[#place].check();
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl ::tachograph::Metrics for #group {
            const MEMBERS: &'static [::tachograph::Member] = &[#(#rows),*];

            fn register(
                region: &::tachograph::Region,
                outer: &str,
            ) -> ::core::result::Result<Self, ::tachograph::RegisterError> {
                ::core::result::Result::Ok(Self { #(#handles),* })
            }
        }
        #(#checks)*
    })
}

fn shape(input: &DeriveInput) -> Error {
    Error::new(
        input.ident.span(),
        "a group of metrics is a struct with named fields: a field's name is part of its metric's name, its doc comment is the HELP",
    )
}

/// One field.
struct Member<'a> {
    field: &'a Ident,
    ty: &'a syn::Type,
    nested: bool,
    /// Its row of the group's table.
    row: TokenStream,
    /// Where a mistake that const evaluation finds is shown.
    at: Span,
}

impl<'a> Member<'a> {
    fn new(declared: &'a Field, group_prefix: &LitStr) -> Result<Self> {
        let Some(field) = &declared.ident else {
            return Err(Error::new_spanned(declared, "a group's fields have names"));
        };
        let mut mistakes = Mistakes::default();
        let nesting = Nesting::new(&declared.attrs)?;
        let settings = mistakes.ok(Settings::new(&declared.attrs)).unwrap_or_default();
        let help = help(&declared.attrs);
        let ty = &declared.ty;
        let (row, at) = match &nesting {
            Some(nesting) => {
                if let Some(attribute) = declared.attrs.iter().find(|found| found.path().is_ident("metric")) {
                    mistakes.add(Error::new_spanned(
                        attribute,
                        "`#[metric(..)]` is for one family; a nested group's fields have their own",
                    ));
                }
                let prefix = joined(group_prefix, nesting.prefix.as_ref());
                (quote_spanned! { ty.span() => ::tachograph::Member::group::<#ty>(#prefix) }, ty.span())
            }
            None => {
                if help.is_empty() {
                    mistakes.add(Error::new(
                        field.span(),
                        format!(
                            "`{field}` has no doc comment: it is the metric's HELP, which people read beside its \
                             values; write `/// What is counted, and when.` above the field"
                        ),
                    ));
                }
                let calls = settings.calls();
                match &settings.name {
                    Some(name) => (
                        quote_spanned! { ty.span() => ::tachograph::Member::named::<#ty>(#name, &[#(#help),*])#calls },
                        name.span(),
                    ),
                    None => {
                        let stem = field.unraw().to_string();
                        (
                            quote_spanned! { ty.span() =>
                                ::tachograph::Member::field::<#ty>(#group_prefix, #stem, &[#(#help),*])#calls
                            },
                            field.span(),
                        )
                    }
                }
            }
        };
        mistakes.finish()?;
        let at = match (&settings.bounds, &settings.exponential) {
            (Some(bounds), _) => bounds.span(),
            (None, Some((schema, _))) => schema.span(),
            (None, None) => settings.labels.as_ref().map_or(at, Spanned::span),
        };
        Ok(Self { field, ty, nested: nesting.is_some(), row, at })
    }

    /// The field's part of the struct that registration returns.
    fn handle(&self, place: usize) -> TokenStream {
        let Self { field, ty, .. } = self;
        let member = quote! { <Self as ::tachograph::Metrics>::MEMBERS[#place] };
        let handle = if self.nested {
            quote_spanned! { ty.span() => <#ty as ::tachograph::Metrics>::register(region, &#member.name(outer))? }
        } else {
            quote_spanned! { ty.span() => <#ty as ::tachograph::Registrable>::register(region, #member.desc(outer))? }
        };
        quote! { #field: #handle }
    }
}

/// `#[metrics(nested, prefix = "..")]`.
struct Nesting {
    prefix: Option<LitStr>,
}

impl Nesting {
    fn new(attributes: &[Attribute]) -> Result<Option<Self>> {
        let (mut nested, mut group_prefix) = (None, None);
        settings(attributes, "metrics", "`nested`, `prefix = \"..\"`", |meta| {
            if meta.path.is_ident("nested") {
                once(&mut nested, meta, |_| Ok(()))
            } else if meta.path.is_ident("prefix") {
                once(&mut group_prefix, meta, prefix)
            } else {
                Ok(false)
            }
        })?;
        match (nested, group_prefix) {
            (Some(()), prefix) => Ok(Some(Self { prefix })),
            (None, None) => Ok(None),
            (None, Some(prefix)) => Err(Error::new(
                prefix.span(),
                "a prefix on a field is a nested group's: write `#[metrics(nested, prefix = \"..\")]`",
            )),
        }
    }
}

/// `#[metric(..)]`.
#[derive(Default)]
struct Settings {
    name: Option<LitStr>,
    unit: Option<LitStr>,
    aggregation: Option<Ident>,
    bounds: Option<Expr>,
    exponential: Option<(Expr, Expr)>,
    labels: Option<Expr>,
    budget: Option<Expr>,
    label_area: Option<Expr>,
    linger_seconds: Option<Expr>,
}

/// What `#[metric(..)]` knows.
const KNOWN: &str = "`name = \"..\"`, `unit = \"..\"`, `aggregation = Max`, `bounds = [..]`, \
                     `exponential(schema = 3, range = 1e-6..=100.0)`; and of an `OpenFamily` `labels = [\"..\"]`, `budget = 100`, \
                     `label_area = 128`, `linger_seconds = 300`";

impl Settings {
    fn new(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        settings(attributes, "metric", KNOWN, |meta| {
            if meta.path.is_ident("name") {
                once(&mut found.name, meta, string)
            } else if meta.path.is_ident("unit") {
                once(&mut found.unit, meta, string)
            } else if meta.path.is_ident("aggregation") {
                once(&mut found.aggregation, meta, |meta| {
                    let way: Ident = meta.value()?.parse()?;
                    if ["Sum", "Min", "Max", "Newest"].iter().any(|known| way == known) {
                        return Ok(way);
                    }
                    Err(Error::new(
                        way.span(),
                        format!("there is no aggregation `{way}`; there are: `Sum`, `Min`, `Max`, `Newest`"),
                    ))
                })
            } else if meta.path.is_ident("bounds") {
                once(&mut found.bounds, meta, |meta| meta.value()?.parse())
            } else if meta.path.is_ident("exponential") {
                once(&mut found.exponential, meta, exponential)
            } else if meta.path.is_ident("labels") {
                once(&mut found.labels, meta, |meta| meta.value()?.parse())
            } else if meta.path.is_ident("budget") {
                once(&mut found.budget, meta, |meta| meta.value()?.parse())
            } else if meta.path.is_ident("label_area") {
                once(&mut found.label_area, meta, |meta| meta.value()?.parse())
            } else if meta.path.is_ident("linger_seconds") {
                once(&mut found.linger_seconds, meta, |meta| meta.value()?.parse())
            } else {
                Ok(false)
            }
        })?;
        if let (Some(bounds), Some(_)) = (&found.bounds, &found.exponential) {
            return Err(Error::new_spanned(bounds, "a histogram has own `bounds` or `exponential` buckets, not both"));
        }
        Ok(found)
    }

    /// What is called on the row for them.
    fn calls(&self) -> TokenStream {
        let unit = self.unit.iter();
        let aggregation = self.aggregation.iter();
        let bounds = self.bounds.iter();
        let (schema, range): (Vec<_>, Vec<_>) = self.exponential.iter().map(|(schema, range)| (schema, range)).unzip();
        let labels = self.labels.iter();
        let budget = self.budget.iter();
        let label_area = self.label_area.iter();
        let linger_seconds = self.linger_seconds.iter();
        quote! {
            #(.unit(#unit))*
            #(.aggregation(::tachograph::Aggregation::#aggregation))*
            #(.bounds(&#bounds))*
            #(.exponential(#schema, #range))*
            #(.labels(&#labels))*
            #(.budget(#budget))*
            #(.label_area(#label_area))*
            #(.linger_seconds(#linger_seconds))*
        }
    }
}

/// `exponential(schema = 3, range = 1e-6..=100.0)`.
fn exponential(meta: &ParseNestedMeta<'_>) -> Result<(Expr, Expr)> {
    let (mut schema, mut range) = (None, None);
    meta.parse_nested_meta(|meta| {
        let known = if meta.path.is_ident("schema") {
            once(&mut schema, &meta, |meta| meta.value()?.parse())?
        } else if meta.path.is_ident("range") {
            once(&mut range, &meta, |meta| meta.value()?.parse())?
        } else {
            false
        };
        if known { Ok(()) } else { Err(meta.error("`exponential(..)` has: `schema = 3`, `range = 1e-6..=100.0`")) }
    })?;
    match (schema, range) {
        (Some(schema), Some(range)) => Ok((schema, range)),
        _ => Err(meta.error("exponential buckets need both: `exponential(schema = 3, range = 1e-6..=100.0)`")),
    }
}

/// Two prefixes as one.
fn joined(outer: &LitStr, inner: Option<&LitStr>) -> String {
    match inner {
        Some(inner) if outer.value().is_empty() => inner.value(),
        Some(inner) => format!("{}_{}", outer.value(), inner.value()),
        None => outer.value(),
    }
}

/// The lines of the doc comment, unless they are all empty.
fn help(attributes: &[Attribute]) -> Vec<&Expr> {
    let lines: Vec<&Expr> = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => Some(&pair.value),
            _ => None,
        })
        .collect();
    let empty = |line: &&Expr| matches!(line, Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) if text.value().trim().is_empty());
    if lines.iter().all(empty) { Vec::new() } else { lines }
}
