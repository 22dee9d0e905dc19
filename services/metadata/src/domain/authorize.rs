//! Who may do what. Every access to a node passes through [`authorize`]; there is no other way to decide.

use super::error::Error;
use super::id::{AccountId, NodeId, SpaceId};
use super::node::{Kind, Node};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// An account, with the space that it owns.
    Account {
        /// Who.
        account: AccountId,
        /// Its own space.
        space: SpaceId,
    },
    /// Somebody who holds the slug of a link that is in force.
    LinkBearer {
        /// The space whose owner made the link.
        space: SpaceId,
        /// The node that the link was made for.
        node: NodeId,
    },
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See that it is there, with its name, size and times.
    See,
    /// Read its content.
    ReadContent,
    /// Read its earlier content and the list of it.
    ReadHistory,
    /// List or add children.
    UseFolder,
    /// Give it new content.
    WriteContent,
    /// Rename or move it.
    Move,
    /// Put it into the trash, take it out, or delete it for good.
    Delete,
    /// Make, see, change or end links to it.
    Share,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 8] = [
        Self::See,
        Self::ReadContent,
        Self::ReadHistory,
        Self::UseFolder,
        Self::WriteContent,
        Self::Move,
        Self::Delete,
        Self::Share,
    ];
}

/// Passes when `principal` may do `action` to `node`: an account everything in its own space, the bearer of a link
/// nothing but read the current content of the linked file.
///
/// # Errors
/// [`Error::NotFound`]: a refusal does not tell that there is something.
pub fn authorize(principal: &Principal, action: Action, node: &Node) -> Result<(), Error> {
    let allowed = match principal {
        Principal::Account { space, .. } => node.space == *space,
        Principal::LinkBearer { space, node: linked } => {
            node.space == *space
                && node.id == *linked
                && node.kind == Kind::File
                && matches!(action, Action::See | Action::ReadContent)
        }
    };
    if allowed { Ok(()) } else { Err(Error::NotFound) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(space: SpaceId, kind: Kind) -> Node {
        Node {
            id: NodeId::new(0),
            space,
            parent: Some(NodeId::new(0)),
            name: "x".to_owned(),
            kind,
            revision: 1,
            created_at: 0,
            modified_at: 0,
            trashed_at: None,
            version: None,
        }
    }

    #[test]
    fn an_account_rules_its_own_space_and_no_other() {
        let (own, foreign) = (SpaceId::new(0), SpaceId::new(0));
        let principal = Principal::Account { account: AccountId::new(0), space: own };
        for action in Action::ALL {
            for kind in [Kind::File, Kind::Folder] {
                assert_eq!(authorize(&principal, action, &node(own, kind)), Ok(()));
                assert_eq!(authorize(&principal, action, &node(foreign, kind)), Err(Error::NotFound));
            }
        }
    }

    #[test]
    fn a_link_opens_its_file_for_reading_and_nothing_else() {
        let space = SpaceId::new(0);
        let file = node(space, Kind::File);
        let sibling = node(space, Kind::File);
        let bearer = Principal::LinkBearer { space, node: file.id };
        for action in Action::ALL {
            let reads = matches!(action, Action::See | Action::ReadContent);
            assert_eq!(authorize(&bearer, action, &file).is_ok(), reads, "{action:?}");
            assert_eq!(authorize(&bearer, action, &sibling), Err(Error::NotFound), "{action:?}");
            let moved_away = Node { space: SpaceId::new(0), ..file.clone() };
            assert_eq!(authorize(&bearer, action, &moved_away), Err(Error::NotFound), "{action:?}");
            let folder = Node { kind: Kind::Folder, ..file.clone() };
            assert_eq!(authorize(&bearer, action, &folder), Err(Error::NotFound), "{action:?}");
        }
    }
}
