//! Every shape of query that the store sends, and every index that it makes, in one table. Filters are built from a shape and
//! typed values only, so nothing that a client sends is ever read as a query.
//!
//! A test goes through the table and asserts that each shape is served by an index: nothing here may need a collection scan.

use mongodb::bson::{Bson, Document, doc};

macro_rules! collections {
    ($($(#[$doc:meta])* $collection:ident = $name:literal;)*) => {
        /// The collections.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Collection { $($(#[$doc])* $collection,)* }

        impl Collection {
            /// Its name in the database.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$collection => $name,)* }
            }
        }
    };
}

collections! {
    /// What the store knows of itself: schema and epoch.
    Meta = "meta";
    /// Server processes that use the database.
    Nodes = "nodes";
    /// Logs: one document for each event.
    Events = "events";
    /// Words of messages: one document for each block of them.
    Words = "words";
    /// Rooms as of the last event that was applied.
    Rooms = "rooms";
    /// Memberships. Never removed.
    Members = "members";
    /// How far users have read rooms.
    Marks = "marks";
    /// Rooms whose followers may not be level with the log, for each node.
    Dirty = "dirty";
    /// Accounts.
    Users = "users";
    /// Logins, each with the hash of its newest refresh token.
    Logins = "logins";
    /// Hashes of refresh tokens that were used.
    RefreshTokens = "refresh_tokens";
    /// Names by which accounts are found.
    Names = "names";
}

/// An index beside the one on `_id`, which every collection has. Ascending.
#[derive(Debug)]
pub(super) struct Index {
    /// Of which collection.
    pub(super) collection: Collection,
    /// Its fields.
    pub(super) keys: &'static [&'static str],
    /// Whether no two documents may have the same.
    pub(super) unique: bool,
}

const fn index(collection: Collection, keys: &'static [&'static str]) -> Index {
    Index { collection, keys, unique: false }
}

const fn unique(collection: Collection, keys: &'static [&'static str]) -> Index {
    Index { collection, keys, unique: true }
}

/// The indexes, made at a start if they are missing.
pub(super) const INDEXES: &[Index] = &[
    // Idempotency, for ever.
    unique(Collection::Events, &["room_id", "actor_id", "key"]),
    // History.
    index(Collection::Events, &["room_id", "is_message", "seq"]),
    index(Collection::Rooms, &["kind", "_id"]),
    index(Collection::Members, &["user_id", "state"]),
    index(Collection::Members, &["user_id", "room_id"]),
    unique(Collection::Users, &["username"]),
    unique(Collection::Users, &["email"]),
    index(Collection::Users, &["erasing"]),
    index(Collection::Names, &["user_id"]),
    index(Collection::Logins, &["token"]),
    index(Collection::Logins, &["user_id"]),
    index(Collection::Logins, &["expires_ms"]),
    index(Collection::RefreshTokens, &["login_id", "generation"]),
];

/// A shape of query: fields that are equal to a value, one that is within a range (results come in its order), and others that are looked
/// at in what the index found.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) collection: Collection,
    equal: &'static [&'static str],
    range: Option<&'static str>,
    also: &'static [&'static str],
    only: &'static [&'static str],
}

impl Shape {
    const fn by(collection: Collection, equal: &'static [&'static str]) -> Self {
        Self { collection, equal, range: None, also: &[], only: &[] }
    }

    const fn range(self, field: &'static str) -> Self {
        Self { range: Some(field), ..self }
    }

    const fn also(self, fields: &'static [&'static str]) -> Self {
        Self { also: fields, ..self }
    }

    /// Only these fields are wanted, beside `_id`.
    const fn only(self, fields: &'static [&'static str]) -> Self {
        Self { only: fields, ..self }
    }

    /// The fields that are wanted, if not all are.
    pub(super) fn projection(&self) -> Option<Document> {
        let fields = || self.only.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect();
        (!self.only.is_empty()).then(fields)
    }

    /// The documents whose fields equal these values, in the order of the shape.
    pub(super) fn equal<const N: usize>(&self, values: [Bson; N]) -> Filter<'_> {
        debug_assert_eq!(self.equal.len(), N, "{self:?}");
        let document = self.equal.iter().map(|field| (*field).to_owned()).zip(values).collect();
        Filter { shape: self, document }
    }

    /// The documents whose only compared field equals one of these values.
    pub(super) fn one_of(&self, values: Vec<Bson>) -> Filter<'_> {
        debug_assert_eq!(self.equal.len(), 1, "{self:?}");
        let field = self.equal.first().copied().unwrap_or("_id");
        // One value is asked for as such, since not every server has an index for the other form.
        let document = match <[Bson; 1]>::try_from(values) {
            Ok([value]) => doc! { field: value },
            Err(values) => doc! { field: { "$in": values } },
        };
        Filter { shape: self, document }
    }

    /// The order of the results, if the shape has one.
    pub(super) fn order(&self, descending: bool) -> Option<Document> {
        self.range.map(|field| doc! { field: if descending { -1 } else { 1 } })
    }
}

/// A filter of a shape.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub(super) shape: &'a Shape,
    document: Document,
}

impl<'a> Filter<'a> {
    /// The same as one filter for each document, if it has nothing but a list of ids.
    pub(super) fn singly(&self) -> Option<Vec<Self>> {
        let ids = self.document.get_document("_id").ok()?.get_array("$in").ok()?;
        let single = |id: &Bson| Self { shape: self.shape, document: doc! { "_id": id.clone() } };
        (self.document.len() == 1).then(|| ids.iter().map(single).collect())
    }

    /// With the field of the range above one value (if any) and not above another (if any).
    pub(super) fn within(mut self, above: Option<Bson>, up_to: Option<Bson>) -> Self {
        let bounds: Document = [("$gt", above), ("$lte", up_to)]
            .into_iter()
            .filter_map(|(operator, value)| Some((operator.to_owned(), value?)))
            .collect();
        debug_assert!(self.shape.range.is_some(), "{:?}", self.shape);
        if let Some(field) = self.shape.range.filter(|_| !bounds.is_empty()) {
            self.document.insert(field, bounds);
        }
        self
    }

    /// With a further field, which must equal a value or meet a condition that we wrote.
    pub(super) fn and(mut self, field: &str, condition: impl Into<Bson>) -> Self {
        debug_assert!(self.shape.also.contains(&field), "{:?} {field}", self.shape);
        self.document.insert(field, condition);
        self
    }

    /// As the driver takes it.
    pub(super) fn document(self) -> Document {
        self.document
    }
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $shape:expr;)*) => {
        $($(#[$doc])* pub(super) const $name: Shape = $shape;)*
        #[cfg(test)]
        const SHAPES: &[(&str, Shape)] = &[$((stringify!($name), $shape)),*];
    };
}

shapes! {
    META = Shape::by(Collection::Meta, &["_id"]).also(&["version"]);
    /// Says that a load did not come to its end.
    LOADING = Shape::by(Collection::Meta, &["_id"]).only(&["_id"]);
    NODE = Shape::by(Collection::Nodes, &["_id"]);
    EVENT = Shape::by(Collection::Events, &["_id"]).also(&["now", "now.as_of"]);
    /// A piece of a log, by ids of events.
    LOG = Shape::by(Collection::Events, &[]).range("_id");
    EVENT_OF_KEY = Shape::by(Collection::Events, &["room_id", "actor_id", "key"]);
    /// Which of these events there are.
    EVENT_IDS = Shape::by(Collection::Events, &["_id"]).only(&["_id"]);
    /// What somebody sent to a room.
    SENT = Shape::by(Collection::Events, &["room_id", "actor_id"]).range("key").only(&["key", "seq"]);
    BLOCK = Shape::by(Collection::Words, &["_id"]).also(&["changes"]);
    /// The blocks of a room, by ids of blocks.
    BLOCKS = Shape::by(Collection::Words, &[]).range("_id");
    MESSAGES = Shape::by(Collection::Events, &["room_id", "is_message"]).range("seq");
    ROOM = Shape::by(Collection::Rooms, &["_id"]).also(&["head", "notified_seq"]);
    /// All rooms and own logs.
    ROOM_PAGES = Shape::by(Collection::Rooms, &[]).range("_id");
    ROOMS_OF_KIND = Shape::by(Collection::Rooms, &["kind"]).range("_id");
    MEMBER = Shape::by(Collection::Members, &["_id"]).also(&["seq"]);
    /// The members of a room, by ids of memberships.
    MEMBERS = Shape::by(Collection::Members, &[]).range("_id").also(&["state"]);
    MEMBERSHIPS = Shape::by(Collection::Members, &["user_id", "state"]);
    ROOMS_EVER = Shape::by(Collection::Members, &["user_id"]).range("room_id").only(&["room_id"]);
    MARK = Shape::by(Collection::Marks, &["_id"]).also(&["as_of"]);
    /// The marks of a user, by ids of marks.
    MARKS = Shape::by(Collection::Marks, &[]).range("_id");
    /// All servers that use the database, or did.
    NODES = Shape::by(Collection::Nodes, &[]).range("_id");
    DIRTY = Shape::by(Collection::Dirty, &["_id"]);
    DIRTY_ROOMS = Shape::by(Collection::Dirty, &[]).range("_id");
    USER = Shape::by(Collection::Users, &["_id"]).also(&["erase_key"]);
    /// All accounts.
    USER_PAGES = Shape::by(Collection::Users, &[]).range("_id");
    USER_BY_USERNAME = Shape::by(Collection::Users, &["username"]);
    USER_BY_EMAIL = Shape::by(Collection::Users, &["email"]);
    USERS_ERASING = Shape::by(Collection::Users, &["erasing"]).only(&["_id", "erase_key"]);
    /// What the world knows of accounts.
    USER_STATUS = Shape::by(Collection::Users, &["_id"]).only(&["status"]);
    NAME = Shape::by(Collection::Names, &["_id"]);
    NAMES = Shape::by(Collection::Names, &[]).range("_id");
    NAMES_OF_USER = Shape::by(Collection::Names, &["user_id"]);
    LOGIN_IDS = Shape::by(Collection::Logins, &["_id"]).only(&["_id"]);
    LOGIN = Shape::by(Collection::Logins, &["_id"]).also(&["token", "user_id"]);
    /// All logins.
    LOGIN_PAGES = Shape::by(Collection::Logins, &[]).range("_id");
    LOGIN_OF_TOKEN = Shape::by(Collection::Logins, &["token"]);
    LOGINS_OF_USER = Shape::by(Collection::Logins, &["user_id"]);
    EXPIRED_LOGINS = Shape::by(Collection::Logins, &[]).range("expires_ms");
    USED_TOKEN = Shape::by(Collection::RefreshTokens, &["_id"]);
    USED_TOKENS = Shape::by(Collection::RefreshTokens, &["login_id"]).range("generation");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields by which an index is walked.
    fn walks(collection: Collection) -> Vec<Vec<&'static str>> {
        let made = INDEXES.iter().filter(|index| index.collection == collection).map(|index| index.keys.to_vec());
        std::iter::once(vec!["_id"]).chain(made).collect()
    }

    /// Whether the walk finds exactly what is compared: all equal fields come first, then that of the range.
    fn serves(walk: &[&str], shape: &Shape) -> bool {
        let (equal, rest) = walk.split_at(shape.equal.len().min(walk.len()));
        equal.len() == shape.equal.len()
            && shape.equal.iter().all(|field| equal.contains(field))
            && shape.range.is_none_or(|field| rest.first() == Some(&field))
    }

    #[test]
    fn no_query_needs_a_collection_scan() {
        for (name, shape) in SHAPES {
            assert!(!shape.equal.is_empty() || shape.range.is_some(), "{name} compares nothing");
            let served = walks(shape.collection).iter().any(|walk| serves(walk, shape));
            assert!(served, "no index of {} serves {name}", shape.collection.name());
        }
    }

    #[test]
    fn every_index_serves_a_query() {
        for index in INDEXES.iter().filter(|index| !index.unique) {
            let served = SHAPES.iter().any(|(_, shape)| shape.collection == index.collection && serves(index.keys, shape));
            assert!(served, "nobody needs {index:?}");
        }
    }

    #[test]
    fn filters_hold_values_only_as_values() {
        let name = "{\"$gt\": \"\"}".to_owned();
        let filter = USER_BY_USERNAME.equal([Bson::String(name.clone())]).document();
        assert_eq!(filter, doc! { "username": name });
        let filter = LOG.equal([]).within(Some("a".into()), Some("b".into())).document();
        assert_eq!(filter, doc! { "_id": { "$gt": "a", "$lte": "b" } });
        assert_eq!(ROOM.one_of(vec!["a".into()]).document(), doc! { "_id": "a" });
        let filter = ROOM.one_of(vec!["a".into(), "b".into()]);
        let singly: Vec<Document> = filter.singly().into_iter().flatten().map(Filter::document).collect();
        assert_eq!(singly, [doc! { "_id": "a" }, doc! { "_id": "b" }]);
        assert_eq!(filter.document(), doc! { "_id": { "$in": ["a", "b"] } });
        assert!(ROOM.one_of(vec!["a".into()]).singly().is_none());
        assert!(LOG.equal([]).within(Some("a".into()), None).singly().is_none());
    }
}
