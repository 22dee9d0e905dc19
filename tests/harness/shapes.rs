//! Every black-box test runs in two shapes: the smallest, and the largest.

use tokio::sync::OnceCell;

use crate::{Server, Shape};

/// The server of that shape that the tests of this process share; started at the first call, gone with the process.
///
/// Tests keep out of each other's way by using accounts of their own.
pub async fn shared(shape: Shape) -> &'static Server {
    static ONE_PROCESS: OnceCell<Server> = OnceCell::const_new();
    static FOUR_PROCESSES: OnceCell<Server> = OnceCell::const_new();
    static EIGHT_PROCESSES: OnceCell<Server> = OnceCell::const_new();
    let cell = match shape {
        Shape::OneProcess => &ONE_PROCESS,
        Shape::FourProcesses => &FOUR_PROCESSES,
        Shape::EightProcesses => &EIGHT_PROCESSES,
    };
    cell.get_or_init(|| Server::start(shape)).await
}

/// Makes two tests of each of these functions, in one process and in eight, on the shared servers.
///
/// ```text
/// both_shapes!(name);
///
/// async fn name(server: &Server) { … }
/// ```
#[macro_export]
macro_rules! both_shapes {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            async fn in_shape(shape: $crate::Shape) {
                let server = $crate::shared(shape).await;
                let _log = server.log_on_failure();
                super::$name(server).await;
            }

            #[tokio::test]
            async fn one_process() {
                in_shape($crate::Shape::OneProcess).await;
            }

            #[tokio::test]
            async fn eight_processes() {
                in_shape($crate::Shape::EightProcesses).await;
            }
        }
    )*};
}
