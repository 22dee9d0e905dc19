//! Contract tests of the older APIs, as data: `FOLDER/*.toml`, run in one process and in eight, where
//! requests go to both gateways in turn.
//!
//! A case is a series of steps, each a request and what must be true of its answer. Cases run beside each other, with names
//! of their own; a case that fails says which step, and prints the request and the answer. The name of a case says what
//! it covers: `a/…` a row of the contract's tables, `b/…` a fact, `c/N …` a reading of an ambiguity, `d/…` a fault that
//! must not come back, `host/…` living together on one host. The folder `isolation` lets one user try everything with what is another's.
//!
//! `HOLDALL_COMPAT_CASES=TEXT` runs only the cases whose `FOLDER/FILE: NAME` contains the text.
//!
//! # A file
//!
//! | key | meaning |
//! | --- | --- |
//! | `[server.NAME.SERVICE]` | settings of a server of its own: a service (`gateway`, `auth`, …) and its keys |
//! | `[shared]` | `NAME = [steps]`, to begin cases with |
//! | `[[case]]` | see below |
//!
//! # A case
//!
//! | key | meaning |
//! | --- | --- |
//! | `name` | what it covers |
//! | `server` | the server of that name in this file; otherwise the one that all share |
//! | `first_gateway` | where there are several, all requests go to the first: it is about what each does for itself, such as counting |
//! | `set` | further variables |
//! | `each` | a list of tables of variables: the case is done once for each |
//! | `first` | names of shared steps that come first |
//! | `steps` | the steps |
//!
//! # A step
//!
//! | key | meaning |
//! | --- | --- |
//! | `send` | `METHOD /path`, sent as it stands |
//! | `each` | a list of tables of variables: the step is done once for each |
//! | `jar` | the name of a cookie jar, whose cookies are sent and which keeps those that come |
//! | `headers` | headers to send; a list sends one several times |
//! | `text`, `base64`, `json`, `form`, `parts`, `bytes` | the body: text, bytes, JSON, an urlencoded form, the parts of a multipart form, that much generated content |
//! | `chunked` | without a `Content-Length` |
//! | `eventually` | again and again, until the answer is as it must be |
//! | `soon` | what ended before: where services have replicas, one may remember it for some seconds |
//! | `status` | the status, as a number or a pattern |
//! | `is`, `has` | the JSON of the answer, exactly, or at least these members |
//! | `body` | the body, exactly |
//! | `contains`, `lacks` | pieces of text that are in the body, or are not |
//! | `content` | the body is that much generated content |
//! | `header` | headers of the answer, as patterns, all of a list; one that is not there is an empty text, `false` says that it must not be there |
//! | `keep` | variables for later steps: a JSON pointer (`/id`), `header NAME`, `cookie NAME`, or a regular expression whose first group is taken |
//!
//! A part has `name`, `file`, `type`, one of `text`, `base64`, `bytes`, or a whole `head` in place of the first three.
//!
//! # Texts
//!
//! Every text that is sent or expected may hold `${…}`:
//!
//! | form | meaning |
//! | --- | --- |
//! | `${NAME}`, `${NAME\|url}` | a variable, as it is or percent-encoded; alone in a JSON value it keeps its type |
//! | `${TEXT*N}` | the text so many times |
//! | `${/REGEX/}` | expected only: whatever matches; it may hold variables |
//! | `${uuid}`, `${hex24}`, `${any}`, `${int}`, `${number}`, `${string}`, `${bool}`, `${array}`, `${object}` | expected only: something of that kind |
//! | `${null}` | alone: JSON's `null` |
//!
//! Variables that are always there: `unique`, `user`, `email`, `password`, each the case's own; `host`, `base` (with
//! `http://`) and `service_token`.

mod check;
mod data;
mod outage;
mod run;
mod servers;
mod setup;
mod template;
mod wire;

macro_rules! folders {
    ($($folder:ident),* $(,)?) => {$(
        mod $folder {
            use harness::Shape;

            #[tokio::test]
            async fn one_process() {
                crate::run::folder(stringify!($folder), Shape::OneProcess).await;
            }

            #[tokio::test]
            async fn eight_processes() {
                crate::run::folder(stringify!($folder), Shape::EightProcesses).await;
            }
        }
    )*

        /// Every folder with data is run.
        #[test]
        fn no_folder_is_forgotten() {
            assert_eq!(data::folders(), [$(stringify!($folder)),*]);
        }
    };
}

folders!(cloudbuffer, file_drop, file_storage, file_uploader, host, isolation, syncfile);
