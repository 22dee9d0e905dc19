//! What is refused before anything is looked up.

use holdall_proto::timestamp;

use super::*;

#[tokio::test]
async fn malformed_requests_say_what_is_wrong() {
    let world = World::new().await;
    let caller = world.caller();
    let file = caller.put("f", b"x").await.node_id;
    let receipt = caller.upload(to_path("g"), b"x").await;
    let commit = || proto::CommitUploadRequest {
        receipt: receipt.clone(),
        target: Some(to_path("g")),
        ..Default::default()
    };
    let condition = |condition| Some(proto::Precondition { condition: Some(condition) });
    use proto::precondition::Condition::{Absent, AnyOf, Present};
    let etags = |number| AnyOf(proto::EtagList { etags: vec!["e".to_owned(); number] });
    let folder = |name: &str| proto::CreateFolderRequest { name: name.to_owned(), ..Default::default() };
    let long = "k".repeat(256);
    let link = |change: fn(&mut proto::LinkOptions)| {
        let mut options = proto::LinkOptions::default();
        change(&mut options);
        Some(options)
    };
    let create = |change: fn(&mut proto::LinkOptions)| proto::CreateLinkRequest {
        node_id: file.clone(),
        options: link(change),
        ..Default::default()
    };
    let reuse =
        |change: fn(&mut proto::LinkOptions)| proto::CreateLinkRequest { reuse: true, ..create(change) };
    use proto::update_link_request::Expiry;
    let linked = caller.link(&file, proto::LinkOptions::default()).await.link_id;
    let update = |expiry| proto::UpdateLinkRequest {
        link_id: linked.clone(),
        expiry: Some(expiry),
        ..Default::default()
    };
    let entry = |change: fn(&mut proto::CommitEntryRequest)| {
        let mut entry = proto::CommitEntryRequest { receipt: receipt.clone(), ..Default::default() };
        change(&mut entry);
        entry
    };

    macro_rules! refused {
        ($($method:ident($request:expr) => $reason:literal $field:literal;)*) => {$(
            let (reason, field) = why(caller.$method($request).await);
            assert_eq!((reason.as_str(), field.as_str()), ($reason, $field), "{}", stringify!($method($request)));
        )*};
    }
    refused! {
        create_folder(folder("")) => "INVALID_NAME" "name";
        create_folder(folder("a/b")) => "INVALID_NAME" "name";
        create_folder(folder("..")) => "INVALID_NAME" "name";
        create_folder(proto::CreateFolderRequest { parents: true, ..folder("") }) => "INVALID_NAME" "name";
        create_folder(proto::CreateFolderRequest { parents: true, ..folder("a/../b") }) => "INVALID_PATH" "path";
        create_folder(proto::CreateFolderRequest { idempotency_key: long.clone(), ..folder("a") })
            => "INVALID_FIELD" "idempotency_key";
        get_node(proto::GetNodeRequest { r#ref: by_path("a//b") }) => "INVALID_PATH" "path";
        list_children(proto::ListChildrenRequest { page_size: -1, ..Default::default() }) => "INVALID_FIELD" "page_size";
        list_children(proto::ListChildrenRequest { order: 9, ..Default::default() }) => "INVALID_FIELD" "order";
        list_trash(proto::ListTrashRequest { page_size: i32::MIN, ..Default::default() }) => "INVALID_FIELD" "page_size";
        list_changes(proto::ListChangesRequest { after_sequence: 99, ..Default::default() })
            => "INVALID_FIELD" "after_sequence";
        update_node(proto::UpdateNodeRequest { node_id: file.clone(), name: Some(String::new()), ..Default::default() })
            => "INVALID_NAME" "name";
        trash_node(proto::TrashNodeRequest::default()) => "INVALID_FIELD" "ref";
        trash_node(proto::TrashNodeRequest { r#ref: by_id(&file), precondition: condition(Absent(false)) })
            => "INVALID_FIELD" "precondition.absent";
        trash_node(proto::TrashNodeRequest { r#ref: by_id(&file), precondition: condition(Present(false)) })
            => "INVALID_FIELD" "precondition.present";
        trash_node(proto::TrashNodeRequest { r#ref: by_id(&file), precondition: condition(etags(0)) })
            => "INVALID_FIELD" "precondition.any_of";
        trash_node(proto::TrashNodeRequest { r#ref: by_id(&file), precondition: condition(etags(65)) })
            => "INVALID_FIELD" "precondition.any_of";
        open_content(proto::OpenContentRequest::default()) => "INVALID_FIELD" "ref";
        begin_upload(proto::BeginUploadRequest::default()) => "INVALID_FIELD" "target";
        abort_upload(proto::AbortUploadRequest { upload_id: "x".to_owned() }) => "INVALID_FIELD" "upload_id";
        commit_upload(proto::CommitUploadRequest { target: None, ..commit() }) => "INVALID_FIELD" "target";
        commit_upload(proto::CommitUploadRequest { media_type: "text".to_owned(), ..commit() })
            => "INVALID_FIELD" "media_type";
        commit_upload(proto::CommitUploadRequest { device: "d".repeat(101), ..commit() }) => "INVALID_FIELD" "device";
        commit_upload(proto::CommitUploadRequest { idempotency_key: long.clone(), ..commit() })
            => "INVALID_FIELD" "idempotency_key";
        begin_upload(proto::BeginUploadRequest {
            target: Some(proto::UploadTarget { keep_both: true, ..to_node(&file) }),
            ..Default::default()
        }) => "INVALID_FIELD" "target.keep_both";
        commit_upload(proto::CommitUploadRequest { link: link(|link| link.form = 9), ..commit() }) => "INVALID_FIELD" "form";
        create_link(create(|link| {
            link.expires_at = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
        })) => "INVALID_FIELD" "expires_at";
        create_link(create(|link| link.expires_at = Some(timestamp(NOW)))) => "INVALID_FIELD" "expires_at";
        create_link(create(|link| link.expires_in = seconds(0))) => "INVALID_FIELD" "expires_in";
        create_link(create(|link| link.expires_in = seconds(i64::MAX))) => "INVALID_FIELD" "expires_in";
        create_link(create(|link| {
            (link.expires_at, link.expires_in) = (Some(timestamp(NOW + 1)), seconds(1));
        })) => "INVALID_FIELD" "expires_in";
        create_link(create(|link| link.form = -1)) => "INVALID_FIELD" "form";
        create_link(create(|link| link.slug_suffix = "/x".to_owned())) => "INVALID_FIELD" "slug_suffix";
        create_link(create(|link| link.file_name = "a\nb".to_owned())) => "INVALID_FIELD" "file_name";
        create_link(reuse(|link| link.slug_suffix = ".x".to_owned())) => "INVALID_FIELD" "reuse";
        create_link(reuse(|link| link.max_downloads = 1)) => "INVALID_FIELD" "reuse";
        create_link(reuse(|link| link.deletable = true)) => "INVALID_FIELD" "reuse";
        get_link(proto::GetLinkRequest::default()) => "INVALID_FIELD" "link";
        list_links(proto::ListLinksRequest { form: 9, ..Default::default() }) => "INVALID_FIELD" "form";
        update_link(update(Expiry::Never(false))) => "INVALID_FIELD" "never";
        update_link(update(Expiry::ExpiresAt(timestamp(NOW)))) => "INVALID_FIELD" "expires_at";
        update_link(update(Expiry::ExpiresIn(prost_types::Duration::default()))) => "INVALID_FIELD" "expires_in";
        update_link(proto::UpdateLinkRequest { file_name: Some("x".repeat(1025)), ..update(Expiry::Never(true)) })
            => "INVALID_FIELD" "file_name";
        set_folder_policy(proto::SetFolderPolicyRequest {
            policy: Some(proto::FolderPolicy { time_to_live: seconds(-1), ..Default::default() }),
            ..Default::default()
        }) => "INVALID_FIELD" "policy.time_to_live";
        set_folder_policy(proto::SetFolderPolicyRequest { folder: by_id(&file), ..Default::default() })
            => "NOT_A_FOLDER" "";
        commit_entry(entry(|entry| entry.kind = 9)) => "INVALID_FIELD" "kind";
        commit_entry(entry(|entry| entry.name = "x".to_owned())) => "INVALID_FIELD" "name";
        commit_entry(entry(|entry| entry.kind = proto::EntryKind::File.into())) => "INVALID_NAME" "name";
        commit_entry(entry(|entry| entry.media_type = "text".to_owned())) => "INVALID_FIELD" "media_type";
        commit_entry(entry(|entry| entry.device = "d\n".to_owned())) => "INVALID_FIELD" "device";
        commit_entry(entry(|entry| entry.time_to_live = seconds(0))) => "INVALID_FIELD" "time_to_live";
        list_entries(proto::ListEntriesRequest { page_token: "x".to_owned(), ..Default::default() })
            => "INVALID_PAGE_TOKEN" "";
        list_entries(proto::ListEntriesRequest { page_size: -1, ..Default::default() }) => "INVALID_FIELD" "page_size";
    }
    caller.commit_upload(commit()).await.unwrap();
}
