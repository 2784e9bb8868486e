//! `#[derive(Versioned)]`: a wire type's fields with the microversions they exist in.
//!
//! `#[since(2.19)]` and `#[until(2.56)]` stand on fields, both ends included; a field's name on the wire is its `#[serde(rename = "...")]`
//! or its own name. `#[serde(skip)]` fields are not on the wire. Fields that are `Option` and carry `#[serde(skip_serializing_if = ...)]`
//! are left out when `None`.

use proc_macro::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Lit, LitStr, Result, parse_macro_input};

#[proc_macro_derive(Versioned, attributes(since, until))]
pub fn derive_versioned(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<proc_macro2::TokenStream> {
    let Data::Struct(data) = &input.data else { return Err(Error::new_spanned(input, "Versioned is for structs")) };
    let Fields::Named(fields) = &data.fields else { return Err(Error::new_spanned(input, "Versioned needs named fields")) };
    let mut table = Vec::new();
    let mut writes = Vec::new();
    for field in &fields.named {
        let Some(ident) = &field.ident else { continue };
        let serde = serde_options(&field.attrs)?;
        if serde.skip {
            continue;
        }
        let name = serde.rename.unwrap_or_else(|| ident.to_string().trim_start_matches("r#").to_owned());
        let since = version(&field.attrs, "since")?.unwrap_or(quote!(::kit::microversion::Microversion::NONE));
        let until = version(&field.attrs, "until")?.unwrap_or(quote!(::kit::microversion::Microversion::MAX));
        let index = table.len();
        table.push(quote!(::kit::microversion::Field { name: #name, since: #since, until: #until }));
        let write = quote!(::kit::microversion::write_field(&mut map, &Self::FIELDS[#index], version, &self.#ident)?;);
        writes.push(if serde.skip_if_none { quote!(if self.#ident.is_some() { #write }) } else { write });
    }
    let ident = &input.ident;
    let (generics, types, clause) = input.generics.split_for_impl();
    Ok(quote! {
        impl #generics ::kit::microversion::Versioned for #ident #types #clause {
            const FIELDS: &'static [::kit::microversion::Field] = &[#(#table),*];

            fn serialize_at<S: ::serde::Serializer>(
                &self,
                version: ::kit::microversion::Microversion,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                use ::serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                #(#writes)*
                map.end()
            }
        }
    })
}

#[derive(Default)]
struct SerdeOptions {
    rename: Option<String>,
    skip: bool,
    skip_if_none: bool,
}

fn serde_options(attrs: &[Attribute]) -> Result<SerdeOptions> {
    let mut options = SerdeOptions::default();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("skip") {
                options.skip = true;
            } else if meta.path.is_ident("rename") {
                options.rename = Some(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.path.is_ident("skip_serializing_if") {
                options.skip_if_none = meta.value()?.parse::<LitStr>()?.value() == "Option::is_none";
            } else if meta.input.peek(syn::Token![=]) {
                meta.value()?.parse::<Lit>()?;
            }
            Ok(())
        })?;
    }
    Ok(options)
}

/// Reads `#[since(2.19)]`. The digits are taken as written, so that 2.10 is not 2.1.
fn version(attrs: &[Attribute], which: &str) -> Result<Option<proc_macro2::TokenStream>> {
    let Some(attr) = attrs.iter().find(|attr| attr.path().is_ident(which)) else { return Ok(None) };
    let literal: syn::LitFloat = attr.parse_args()?;
    let (major, minor) = literal.base10_digits().split_once('.').ok_or_else(|| Error::new_spanned(&literal, "MAJOR.MINOR"))?;
    let number = |part: &str| part.parse::<u16>().map_err(|_| Error::new_spanned(&literal, "MAJOR.MINOR"));
    let (major, minor) = (number(major)?, number(minor)?);
    Ok(Some(quote!(::kit::microversion::Microversion(#major, #minor))))
}
