"""The three classes against a live server."""

import io
import socket
import unittest

from holdall import LogIn, Refused, Register, Unreachable, UsersData
from servers import TOKEN, gateway

NO_USER = "This user does not exist"


class StorageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = gateway()
        cls.addClassCleanup(cls.server.stop)
        where = {"url": cls.server.url, "token": TOKEN}
        cls.register, cls.log_in, cls.data = Register(**where), LogIn(**where), UsersData(**where)

    def user(self, name):
        """A new user and their number."""
        added = self.register.add_user(name, f"{name}@example.org", f"crypt of {name}", f"/home/{name}")
        self.assertEqual(added, "ok")
        number = self.log_in.get_user_id(name)
        self.assertIsNone(self.data.create_dir_for_user(name, number))
        return name, number

    def read(self, path, **more):
        with self.data.read_file(path, **more) as file:
            return file.read()

    def test_users_are_registered_and_identified(self):
        name, number = self.user("anna")
        self.assertEqual(
            self.register.add_user("anna", "x@example.org", "x", "x"),
            "That username is already taken, please choose another",
        )
        self.assertEqual(
            self.register.add_user("anna2", "anna@example.org", "x", "x"), "This email is already in use."
        )
        self.assertEqual(self.register.add_user("an", "x@example.org", "x", "x"), "Username is too short")
        self.assertEqual(
            self.register.add_user("anton", "x", "x", "x"), "Email address is too short, or incorrect"
        )
        for method in (self.register.get_user_id, self.register.get_id_user, self.log_in.get_user_id):
            self.assertEqual(method(name), number)
            self.assertEqual(method("nobody"), NO_USER)
        self.assertEqual(self.register.get_tracking(name), "/home/anna")
        self.assertEqual((self.log_in.login_user(name), self.log_in.login_user("nobody")), ("ok", "bad"))

    def test_numbers_are_names(self):
        self.assertEqual(self.register.add_user(4711, "4711@example.org", "x", "x"), "ok")
        self.assertEqual(self.log_in.get_user_id(4711), self.log_in.get_user_id("4711"))

    def test_credentials_are_changed(self):
        name, number = self.user("berta")
        self.assertEqual(self.log_in.get_pwd(name), "crypt of berta")
        self.assertIsNone(self.log_in.change_password(name, number, "$1$other"))
        self.assertEqual(self.log_in.get_pwd(name), "$1$other")
        self.assertEqual(self.log_in.change_password(name, number + 1000, "x"), NO_USER)
        self.assertEqual(self.log_in.get_pwd("nobody"), "bad")
        self.assertIsNone(self.log_in.change_email(name, number, "new@example.org"))
        self.assertEqual(
            self.log_in.change_email(name, number, "new"), "This email does not supported by system"
        )

    def test_users_are_deleted(self):
        name, number = self.user("cora")
        self.assertIsNone(self.log_in.del_user(name, number + 1000))
        self.assertEqual(self.log_in.login_user(name), "ok")
        self.assertIsNone(self.log_in.del_user(name, number))
        self.assertIsNone(self.log_in.del_user(name, number))
        self.assertEqual(self.log_in.login_user(name), "bad")
        _, again = self.user("cora")
        self.assertGreater(again, number)
        self.assertEqual(self.register.del_user(name), "cora has been deleted")
        self.assertEqual(self.register.del_user(name), NO_USER)

    def test_files_come_and_go(self):
        user = self.user("dora")
        added = self.data.add_file(*user, "words.txt", "dora/texts", b"some words")
        self.assertEqual(added["filename"], "words.txt")
        path = f"{added['file_dir']}/words.txt"
        self.assertEqual(self.data.find_files_in_dirs(*user, "dora/texts"), {"words.txt": path})
        self.assertEqual(self.read(path), b"some words")
        self.assertEqual(self.read(path, user_dir="dora/texts"), b"some words")
        self.assertEqual(self.data.add_file(*user, "words.txt", "dora/texts")["filename"], "words(1).txt")
        self.assertEqual(
            self.data.rename_file(*user, "dora/texts", "words.txt", "w.pdf"),
            "You can not change the extension file txt to an extension pdf",
        )
        self.assertEqual(
            self.data.rename_file(*user, "dora/texts", "x.txt", "y.txt"), "Such file does not exist"
        )
        self.assertIsNone(self.data.rename_file(*user, "dora/texts", "words.txt", "w.txt"))
        files = self.data.find_files_in_dirs(*user, "dora/texts")
        self.assertEqual(list(files), ["w.txt", "words(1).txt"])
        self.assertEqual(self.read(files["w.txt"]), b"some words")
        self.assertIsNone(self.data.del_file(*user, "w.txt", "dora/texts"))
        self.assertEqual(
            self.data.del_file(*user, "w.txt", "dora/texts"), "There is no such file in this directory"
        )
        with self.assertRaises(Refused) as refused:
            self.read(files["w.txt"])
        self.assertEqual((refused.exception.status, refused.exception.code), (404, "not_found"))

    def test_the_folder_of_a_file_is_that_of_the_original(self):
        user = self.user("alice")
        self.assertEqual(
            self.data.add_file(*user, "words.txt"), {"filename": "words.txt", "file_dir": "alice/eb/c7"}
        )
        self.assertEqual(self.data.add_file(*user, "a.pdf", "alice/docs")["file_dir"], "alice/b8/b9")

    def test_content_is_streamed_from_anything(self):
        user = self.user("emil")
        large = bytes(range(256)) * 8192
        contents = {"bytes.mp4": large, "file.mp4": io.BytesIO(large), "pieces.mp4": iter([large[:7], b"", large[7:]])}
        for name, content in contents.items():
            added = self.data.add_file(*user, name, content=content)
            self.assertEqual(self.read(f"{added['file_dir']}/{name}"), large, name)
        added = self.data.add_file(*user, "later.txt")
        path = f"{added['file_dir']}/later.txt"
        self.assertEqual(self.read(path), b"")
        for content in (b"now", io.BytesIO(large)):
            self.assertEqual(self.data.write_file(path, content), added)
        self.assertEqual(self.read(path), large)
        self.assertEqual(self.data.add_file(*user, "empty.txt", content=b"")["filename"], "empty.txt")
        with self.assertRaises(TypeError):
            self.data.add_file(*user, "text.txt", content="text")

    def test_a_refusal_comes_before_the_end_of_the_content(self):
        user = self.user("fritz")
        pieces = (bytes(1 << 16) for _ in range(1 << 10))
        self.assertEqual(
            self.data.add_file(*user, "program.exe", content=pieces),
            "The extension of these files are not supported by this system.",
        )
        self.assertEqual(self.data.find_files_in_dirs(*user, "fritz"), {})

    def test_directories_form_a_tree(self):
        user = self.user("gerd")
        self.assertIsNone(self.data.create_folder(*user, "gerd/z/a"))
        self.assertEqual(self.data.create_folder(*user, "gerd/z/a"), "This folder exist exist")
        self.assertIsNone(self.data.add_way(*user, "/way"))
        self.assertEqual(self.data.get_folder(*user, "gerd"), {"way": "gerd/way", "z": "gerd/z"})
        self.assertEqual(self.data.get_folder(*user, "gerd/nothing"), {})
        ancestors = self.data.get_dir(*user, "gerd/z/a")
        self.assertEqual(list(ancestors.items()), [("gerd", "gerd"), ("z", "gerd/z"), ("a", "gerd/z/a")])
        self.assertEqual(self.data.get_dir(*user, "gerd/nothing"), "There is no such directory")
        self.assertIsNone(self.data.change_dir_name(*user, "gerd/z", "y"))
        self.assertEqual(self.data.get_folder(*user, "gerd/y"), {"a": "gerd/y/a"})
        for old, new, sentence in (
            ("gerd/z", "x", "Directory with this name does not exist"),
            ("gerd", "x", "This directory can not be modified"),
            ("gerd/y", "", "You must write a new directory name"),
            ("gerd/y", "y", "You can not change the directory name to exactly the same"),
        ):
            self.assertEqual(self.data.change_dir_name(*user, old, new), sentence)
        self.assertIsNone(self.data.delete_dir(*user, "/gerd/y"))
        self.assertEqual(self.data.delete_dir(*user, "gerd/y"), "This folder does not exist")
        self.assertEqual(self.data.delete_dir(*user, ""), "This field must be filled")
        self.assertIsNone(self.data.delete_user(*user))
        self.assertEqual(self.data.get_folder(*user, "gerd"), {})
        self.assertEqual(self.log_in.login_user("gerd"), "ok")

    def test_calls_without_the_token_are_refused(self):
        for token in ("wrong-token-of-somebody", None):
            with self.assertRaises(Refused) as refused:
                LogIn(url=self.server.url, token=token).login_user("anna")
            self.assertEqual(refused.exception.status, 401)

    def test_a_server_that_is_not_there_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with self.assertRaises(Unreachable):
            LogIn(url=f"http://127.0.0.1:{port}", token=TOKEN).login_user("anna")
        with self.assertRaises(ValueError):
            LogIn(url="localhost:8080")


if __name__ == "__main__":
    unittest.main()
