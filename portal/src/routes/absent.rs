//! What a call may leave out is described as absent, never as `null`: a header cannot be `null`, and a body of `null` is
//! refused.

use utoipa::{
    Modify,
    openapi::{
        OpenApi, PathItem, RefOr, Schema,
        schema::{SchemaType, Type},
    },
};

/// Takes `null` out of what parameters and bodies may be. It comes with each `Option`, which says that they are not
/// required.
pub(super) struct Absent;

impl Modify for Absent {
    fn modify(&self, api: &mut OpenApi) {
        for item in api.paths.paths.values_mut() {
            let PathItem { get, post, put, patch, delete, head, .. } = item;
            for operation in [get, post, put, patch, delete, head].into_iter().flatten() {
                for parameter in operation.parameters.iter_mut().flatten().filter_map(own) {
                    parameter.schema.iter_mut().for_each(without_null);
                }
                for body in operation.request_body.iter_mut().filter_map(own) {
                    for content in body.content.values_mut().filter_map(own) {
                        content.schema.iter_mut().for_each(without_null);
                    }
                }
            }
        }
    }
}

/// Returns what is described in its place, and not by a reference.
fn own<T>(described: &mut RefOr<T>) -> Option<&mut T> {
    match described {
        RefOr::T(described) => Some(described),
        RefOr::Ref(_) => None,
    }
}

fn without_null(schema: &mut RefOr<Schema>) {
    let is_null = |schema: &RefOr<Schema>| matches!(schema, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null));
    match schema {
        RefOr::T(Schema::Object(object)) => {
            if let SchemaType::Array(types) = &mut object.schema_type {
                types.retain(|one| *one != Type::Null);
                if let [only] = types.as_slice() {
                    object.schema_type = SchemaType::Type(only.clone());
                }
            }
        }
        RefOr::T(Schema::OneOf(one_of)) => {
            one_of.items.retain(|item| !is_null(item));
            if let [only] = one_of.items.as_slice() {
                *schema = only.clone();
            }
        }
        _ => {}
    }
}
