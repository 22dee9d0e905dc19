"""The class `UsersData`.

Directories are paths that start with the username, such as `alice/docs`. What goes wrong in a method is returned as a
sentence, as it always was; what keeps a method from being called is raised, see `holdall.errors`.
"""

from .register_and_login import _Class


class UsersData(_Class):
    """Works with the files and directories of users."""

    _name = "UsersData"

    def create_dir_for_user(self, username, user_id):
        """Makes the root directory of the user: None."""
        return self._call("create_dir_for_user", username=username, user_id=user_id)

    def add_file(self, username, user_id, filename, user_dir=None, content=None):
        """Adds a file: `{"filename": …, "file_dir": …}`, or a sentence. A name that is taken gets a number.

        `content` is bytes, a file opened for reading bytes, or an iterable of bytes; the last two are streamed. Without it
        the file is empty until `write_file`.
        """
        parameters = {"username": username, "user_id": user_id, "filename": filename, "user_dir": user_dir or None}
        if content is None:
            return self._call("add_file", **parameters)
        return self._connection.call_with_file("UsersData/add_file", content, **parameters)

    def rename_file(self, username, user_id, user_dir, old_filename, new_filename):
        """Renames a file; the extension must stay: None, or a sentence."""
        return self._call(
            "rename_file",
            username=username,
            user_id=user_id,
            user_dir=user_dir,
            old_filename=old_filename,
            new_filename=new_filename,
        )

    def del_file(self, username, user_id, filename, user_dir):
        """Deletes a file: None, or a sentence."""
        return self._call("del_file", username=username, user_id=user_id, filename=filename, user_dir=user_dir)

    def find_files_in_dirs(self, username, user_id, user_dir):
        """The files directly in a directory: `{name: path for read_file}`."""
        return self._call("find_files_in_dirs", username=username, user_id=user_id, user_dir=user_dir)

    def add_way(self, username, user_id, pathway):
        """Makes the directory `<username><pathway>`: None."""
        return self._call("add_way", username=username, user_id=user_id, pathway=pathway)

    def create_folder(self, username, user_id, new_folder):
        """Makes a directory and those above it that are missing: None, or a sentence."""
        return self._call("create_folder", username=username, user_id=user_id, new_folred=new_folder)

    def get_folder(self, username, user_id, user_dir):
        """The directories directly in a directory: `{name: path}`."""
        return self._call("get_folder", username=username, user_id=user_id, user_dir=user_dir)

    def get_dir(self, username, user_id, pathway):
        """The directories down to a directory, in order: `{name: path}`, or a sentence."""
        return self._call("get_dir", username=username, user_id=user_id, pathway=pathway)

    def change_dir_name(self, username, user_id, old_user_dir, new_dir_name):
        """Gives a directory another name: None, or a sentence."""
        return self._call(
            "change_dir_name",
            username=username,
            user_id=user_id,
            old_user_dir=old_user_dir,
            new_user_dir=new_dir_name,
        )

    def delete_dir(self, username, user_id, name_dir):
        """Deletes a directory with everything in it: None, or a sentence."""
        return self._call("delete_dir", username=username, user_id=user_id, name_dir=name_dir)

    def delete_user(self, username, user_id):
        """Deletes all files and directories of the user: None, or a sentence."""
        return self._call("delete_user", username=username, user_id=user_id)

    def read_file(self, path, user_dir=None):
        """Opens the file at a path from `find_files_in_dirs`, or at `file_dir + "/" + filename`, for reading bytes.

        `user_dir`, the directory of the file, is needed only where two files share a path, which `Refused` tells with
        status 409.
        """
        return self._connection.get(path, user_dir)

    def write_file(self, path, content, user_dir=None):
        """Replaces the content of the file at such a path; gives what `add_file` gives."""
        return self._connection.put(path, content, user_dir)
