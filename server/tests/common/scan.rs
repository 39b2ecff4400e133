//! Looks at everything that a database holds.

/// The documents of a database that have these bytes in them, in whatever collection and field; text is looked for whatever its case.
pub async fn documents_with(uri: &str, text: &str) -> Vec<mongodb::bson::RawDocumentBuf> {
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let database = client.default_database().expect("a URI with a database");
    let wanted = text.to_ascii_lowercase().into_bytes();
    let mut found = Vec::new();
    for name in database.list_collection_names().await.unwrap() {
        let mut documents =
            database.collection::<mongodb::bson::RawDocumentBuf>(&name).find(Default::default()).await.unwrap();
        while documents.advance().await.unwrap() {
            let document = documents.current();
            let bytes = document.as_bytes().to_ascii_lowercase();
            if bytes.windows(wanted.len()).any(|part| part == wanted) {
                found.push(document.to_owned());
            }
        }
    }
    client.shutdown().await;
    found
}
