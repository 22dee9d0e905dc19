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
        /// Whether it also holds the link's delete key.
        delete: bool,
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
    /// Set what it does with the files in it.
    SetPolicy,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 9] = [
        Self::See,
        Self::ReadContent,
        Self::ReadHistory,
        Self::UseFolder,
        Self::WriteContent,
        Self::Move,
        Self::Delete,
        Self::Share,
        Self::SetPolicy,
    ];
}

/// Passes when `principal` may do `action` to `node`: an account everything in its own space, the bearer of a link
/// nothing but read the current content of the linked file, and delete that with the link's delete key.
///
/// # Errors
/// [`Error::NotFound`]: a refusal does not tell that there is something. [`Error::Forbidden`] where the bearer of a link, who
/// knows that, would delete the file and has no right to.
pub fn authorize(principal: &Principal, action: Action, node: &Node) -> Result<(), Error> {
    match principal {
        Principal::Account { space, .. } if node.space == *space => Ok(()),
        Principal::LinkBearer { space, node: linked, delete }
            if node.space == *space && node.id == *linked && node.kind == Kind::File =>
        {
            match action {
                Action::See | Action::ReadContent => Ok(()),
                Action::Delete if *delete => Ok(()),
                Action::Delete => Err(Error::Forbidden),
                _ => Err(Error::NotFound),
            }
        }
        Principal::Account { .. } | Principal::LinkBearer { .. } => Err(Error::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Policy;

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
            expires_at: None,
            policy: Policy::NONE,
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
    fn a_link_opens_its_file_for_reading_and_a_delete_key_for_deleting() {
        let space = SpaceId::new(0);
        let file = node(space, Kind::File);
        let sibling = node(space, Kind::File);
        for delete in [false, true] {
            let bearer = Principal::LinkBearer { space, node: file.id, delete };
            for action in Action::ALL {
                let expected = match action {
                    Action::See | Action::ReadContent => Ok(()),
                    Action::Delete if delete => Ok(()),
                    Action::Delete => Err(Error::Forbidden),
                    _ => Err(Error::NotFound),
                };
                assert_eq!(authorize(&bearer, action, &file), expected, "{action:?}");
                assert_eq!(authorize(&bearer, action, &sibling), Err(Error::NotFound), "{action:?}");
                let moved_away = Node { space: SpaceId::new(0), ..file.clone() };
                assert_eq!(authorize(&bearer, action, &moved_away), Err(Error::NotFound), "{action:?}");
                let folder = Node { kind: Kind::Folder, ..file.clone() };
                assert_eq!(authorize(&bearer, action, &folder), Err(Error::NotFound), "{action:?}");
            }
        }
    }
}
