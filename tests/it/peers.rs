//! The peers themselves: each starts, and is reached in every way that the tests of the product reach it.

use mysql_async::prelude::Queryable as _;

use crate::support::mysql::{self, FLAVOURS, Flavour};

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
