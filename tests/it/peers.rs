//! The peers themselves: each starts, and is reached in every way that the tests of the product reach it.

use ::mongodb::{
    Client, IndexModel,
    bson::{Document, doc},
};
use futures_util::TryStreamExt as _;
use mysql_async::prelude::Queryable as _;

use crate::support::{
    mongodb,
    mysql::{self, FLAVOURS, Flavour},
};

#[tokio::test]
async fn mysql_and_mariadb_take_rows_and_give_them_back() {
    for flavour in FLAVOURS {
        let server = mysql::shared(flavour);
        let database = server.database("peers").await;
        let mut connection = server.connect(&database).await;
        connection.query_drop("CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(9))").await.unwrap();
        connection.query_drop("INSERT INTO t VALUES (1, 'ä')").await.unwrap();
        let rows: Vec<(i32, String)> = connection.query("SELECT a, b FROM t").await.unwrap();
        assert_eq!(rows, [(1, "ä".to_owned())], "{flavour:?}");
    }
}

#[tokio::test]
async fn every_mysql_client_logs_in_to_every_server_over_tls() {
    for flavour in FLAVOURS {
        let server = mysql::shared(flavour);
        for client in FLAVOURS {
            let program = if client.is_mariadb() { "mariadb" } else { "mysql" };
            let (required, verified) = match client {
                Flavour::MySql97 => ("--ssl-mode=REQUIRED", "--ssl-mode=REQUIRED"),
                _ => ("--ssl", "--skip-ssl-verify-server-cert"),
            };
            let answer = server.tool(client, program, &[required, verified, "-N", "-e", "SHOW STATUS LIKE 'Ssl_cipher'"]);
            assert!(answer.contains("TLS_"), "{client:?} at {flavour:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_mongodb_server_takes_documents_and_gives_them_back() {
    let server = mongodb::shared();
    let database = server.connect().await.database(&server.database("peers"));
    let documents = database.collection::<Document>("things");
    let inserted: Vec<_> = (0..3000).map(|number| doc! { "_id": number, "text": "ä".repeat(100) }).collect();
    documents.insert_many(&inserted).await.unwrap();
    documents.create_index(IndexModel::builder().keys(doc! { "text": 1 }).build()).await.unwrap();
    let found: Vec<Document> = documents.find(doc! {}).sort(doc! { "_id": 1 }).batch_size(1000).await.unwrap().try_collect().await.unwrap();
    assert_eq!(found, inserted);
    assert_eq!(documents.list_index_names().await.unwrap(), ["_id_", "text_1"]);
}

#[tokio::test]
async fn a_mongodb_reader_reads_and_cannot_write() {
    let server = mongodb::shared();
    let name = server.database("peers");
    server.connect().await.database(&name).collection::<Document>("things").insert_one(doc! { "_id": 1 }).await.unwrap();
    let reader = Client::with_uri_str(server.url_as(mongodb::READER, mongodb::PASSWORD, "admin")).await.unwrap();
    let things = reader.database(&name).collection::<Document>("things");
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 1);
    let error = things.insert_one(doc! { "_id": 2 }).await.unwrap_err().to_string();
    assert!(error.contains("not authorized"), "{error}");
    let stranger = Client::with_uri_str(server.url_as(mongodb::READER, "wrong", "admin")).await.unwrap();
    assert!(stranger.list_database_names().await.unwrap_err().to_string().contains("Authentication failed"));
}
