//! No more files can be opened.

use std::time::Duration;

use holdall_runtime::testing::eventually;
use tonic::Code;

use crate::calls;
use crate::content::Content;
use crate::home::Home;

#[tokio::test(flavor = "multi_thread")]
async fn without_files_to_open_nothing_is_lost_and_all_goes_on_later() {
    let home = Home::new();
    let server = home.start();
    let (keys, mut client) = (&home.keys, server.client());
    let content = Content { seed: 1, len: 100_000 }.bytes();
    let id = calls::write(keys, &mut client, content.clone()).await.unwrap();
    let nobody = "01890000-0000-7000-8000-000000000000";
    assert_eq!(calls::read(keys, &mut client, nobody).await.unwrap_err().code(), Code::NotFound);

    server.limit_files(server.next_file());
    // The pack cannot be opened for reading: that says nothing about what is in it.
    assert_eq!(calls::read(keys, &mut client, &id).await.unwrap_err().code(), Code::Unavailable);
    // Large content needs a pack that was not made yet, and after that failure nobody is let in.
    for len in [1 << 20, 1000] {
        let refused = calls::write(keys, &mut client, Content { seed: 2, len }.bytes()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
    }

    server.limit_files(1024);
    assert!(calls::read(keys, &mut client, &id).await.unwrap() == content);
    eventually(Duration::from_secs(60), async || {
        let content = Content { seed: 2, len: 1 << 20 }.bytes();
        calls::write(keys, &mut server.client(), content).await.is_ok()
    })
    .await;
    server.stop().await;
}
