#!/usr/bin/env python3
"""What `koi` says and how it ends, against a server that answers what the test wants.

usage: koi_cli_test.py PATH/TO/koi
"""
import http.server
import json
import os
import pty
import pwd
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

KOI = None
FINE, FAILED, USAGE, CHANGES, NOT_RUNNING = 0, 1, 2, 2, 3


class FakeKoid:
    """Answers every request with what `answers` holds for its method and path; notes what was asked."""

    def __init__(self, path):
        self.path, self.asked, self.answers = path, [], {}
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                size = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(size).decode()
                fake.asked.append((self.command, self.path, body))
                what = fake.answers.get((self.command, self.path.split("?")[0]), (404, {"error": "nothing there"}))
                if callable(what):
                    return what(self)
                status, content = what
                content = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

            def address_string(self):
                return "unix"

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(path, Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class KoiTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="koi-cli-")
        self.socket = self.folder + "/koi.sock"
        self.koid = FakeKoid(self.socket)

    def tearDown(self):
        self.koid.close()
        shutil.rmtree(self.folder)

    def koi(self, *words, socket=None, env=None, **more):
        environment = {"PATH": os.environ["PATH"], "KOI_SOCKET": socket or self.socket, **(env or {})}
        environment.update({k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k})
        return subprocess.run([KOI, *words], capture_output=True, text=True, timeout=60, env=environment, **more)

    def expect(self, words, code, out="", err="", **more):
        done = self.koi(*words.split(), **more)
        told = f"koi {words}\n--- exit {done.returncode}\n--- stdout\n{done.stdout}--- stderr\n{done.stderr}"
        self.assertEqual(done.returncode, code, told)
        self.assertIn(out, done.stdout, told)
        self.assertIn(err, done.stderr, told)
        if code not in (FINE, CHANGES):
            self.assertTrue(done.stderr.startswith("koi: ") or "koi: " in done.stderr, told)
        return done

    def answer(self, method, path, status, content):
        self.koid.answers[(method, path)] = (status, content)


class ExitCodes(KoiTest):
    def test_wrong_usage_is_2_and_asks_nobody(self):
        for words, err in [
            ("nonsense", 'there is no command "nonsense"'),
            ("--nonsense", "--nonsense"),
            ("status extra", "extra"),
            ("status -o xml", 'there is no format "xml"; use text, json, yaml'),
            ("plan -o yaml", 'there is no format "yaml"; use text, json'),
            ("status --watch=-1", "--watch"),
            ("show", "PART"),
            ("show nonsense", 'there is no part "nonsense" to show; there are roles, vips'),
            ("step-down", "VHID"),
            ("step-down 0", "VHID"),
            ("step-up 256", "VHID"),
            ("step-up web", "VHID"),
            ("events -n -1", "--lines"),
            ("drill", "needs a VHID"),
            ("drill 0", "VHID"),
            ("drill 51 --probe 192.0.2.1", "--probe"),
            ("drill 51 --seconds 3", "--probe"),
            ("help nonsense", 'there is no command "nonsense"'),
        ]:
            with self.subTest(words):
                self.expect(words, USAGE, err=err)
        self.assertEqual(self.koid.asked, [])

    def test_without_a_command_the_help_is_shown_and_the_code_is_2(self):
        done = self.koi()
        self.assertEqual((done.returncode, done.stdout), (USAGE, ""))
        self.assertIn("koi status", done.stderr)

    def test_what_is_not_there_yet_says_so(self):
        for words in ["why 51", "why web 10.0.0.1:80", "drain web 10.0.0.1:80 --wait", "undrain web x", "weight web x 1",
                      "import keepalived.conf", "drain", "drain --help", "show checks", "show children",
                      "help drain"]:
            with self.subTest(words):
                self.expect(words, FAILED, err="is not available in this version")
        self.assertEqual(self.koid.asked, [])

    def test_what_is_not_there_yet_is_not_in_the_help(self):
        for words in ["help", "--help", "-h"]:
            out = self.expect(words, FINE, out="koi step-down VHID").stdout
            for word in ["why", "undrain", "weight", "import"]:
                self.assertNotIn("koi " + word, out)
            self.assertLessEqual(max(map(len, out.splitlines())), 100)

    def test_nobody_there_is_3_with_the_socket_and_a_remedy(self):
        for words in ["status", "show roles", "plan", "events", "events -f", "reload", "step-down 51", "step-up 51",
                      "status --watch", "drill 51"]:
            with self.subTest(words):
                done = self.expect(words, NOT_RUNNING, err=self.folder + "/none.sock", socket=self.folder + "/none.sock")
                self.assertIn("systemctl start koi", done.stderr)
                self.assertEqual(done.stdout, "")

    def test_a_socket_nobody_listens_on_any_more_is_3(self):
        leftover = self.folder + "/leftover.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(leftover)
        self.expect("status", NOT_RUNNING, err="Connection refused", socket=leftover)

    def test_a_koid_that_hangs_up_is_3(self):
        self.koid.answers[("GET", "/v1/status")] = lambda handler: handler.connection.shutdown(2)
        self.expect("status", NOT_RUNNING, err="koid went away")

    @unittest.skipUnless(os.geteuid() == 0, "needs root to become somebody else")
    def test_who_may_not_speak_on_the_socket_is_told_how(self):
        os.chmod(self.folder, 0o755)
        os.chmod(self.socket, 0o660)
        copy = self.folder + "/koi"  # a build folder need not be open to everybody
        shutil.copy(KOI, copy)
        done = subprocess.run([copy, "status", "--socket", self.socket], capture_output=True, text=True, user=65534,
                              group=65534, extra_groups=[], timeout=60, cwd="/",
                              env={k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k})
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.assertIn("Permission denied; use sudo, or become a member of the group koi", done.stderr)

    def test_an_answer_that_says_no_is_1_with_its_sentence(self):
        for status in (400, 403, 404, 500):
            self.answer("GET", "/v1/status", status, {"error": "because it is so"})
            self.expect("status", FAILED, err="koi: because it is so\n")
        for nonsense in ("", "<html>", "[]", '{"error": 7}'):
            self.answer("GET", "/v1/status", 500, nonsense)
            self.expect("status", FAILED, err="HTTP status 500")


class Status(KoiTest):
    def test_the_daemon_renders_and_koi_prints(self):
        self.answer("GET", "/v1/status", 200, "lb1  all well\n")
        self.assertEqual(self.expect("status", FINE).stdout, "lb1  all well\n")
        self.expect("status -o json", FINE)
        self.expect("show roles --output yaml", FINE)
        self.assertEqual([path for _, path, _ in self.koid.asked],
                         ["/v1/status?format=text&columns=100&colour=0", "/v1/status?format=json",
                          "/v1/status?format=yaml&part=roles"])

    def test_the_socket_is_found_by_option_and_by_environment(self):
        self.answer("GET", "/v1/status", 200, "well\n")
        for words in [["--socket", self.socket, "status"], ["status", "--socket", self.socket]]:
            self.assertEqual(self.koi(*words, socket="/nowhere").stdout, "well\n")
        run = {"RUNTIME_DIRECTORY": self.folder, "KOI_SOCKET": ""}
        self.assertEqual(self.koi("status", env=run).stdout, "well\n")

    def on_a_terminal(self, *words, env):
        """Runs koi with a terminal for its stdout; what it printed there."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(KOI, [KOI, *words], {"KOI_SOCKET": self.socket, **env})
        out = b""
        try:
            while chunk := os.read(terminal, 65536):
                out += chunk
        except OSError:
            pass  # how Linux says that the other end is gone
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out.decode()

    def test_colours_only_on_a_terminal_that_wants_them(self):
        self.answer("GET", "/v1/status", 200, "well\n")
        for env, words, colour in [({"TERM": "xterm"}, [], 1), ({"TERM": "xterm", "NO_COLOR": ""}, [], 1),
                                   ({"TERM": "xterm", "NO_COLOR": "1"}, [], 0), ({"TERM": "dumb"}, [], 0), ({}, [], 0),
                                   ({"TERM": "xterm"}, ["--no-colour"], 0), ({"TERM": "xterm"}, ["--no-color"], 0)]:
            code, out = self.on_a_terminal("status", *words, env=env)
            self.assertEqual((code, out), (FINE, "well\r\n"))
            self.assertTrue(self.koid.asked[-1][1].endswith(f"&colour={colour}"), (env, words, self.koid.asked[-1]))
        self.koi("status", env={"TERM": "xterm"})
        self.assertTrue(self.koid.asked[-1][1].endswith("&colour=0"))

    def test_watching_looks_again_and_again_until_koid_is_gone(self):
        rounds = []

        def answer(handler):
            rounds.append(1)
            if len(rounds) > 3:
                return handler.connection.shutdown(2)
            handler.send_response(200)
            handler.send_header("Content-Length", "6")
            handler.end_headers()
            handler.wfile.write(b"round\n")

        self.koid.answers[("GET", "/v1/status")] = answer
        self.assertEqual(self.expect("status --watch=0.1", NOT_RUNNING).stdout, "round\n" * 3)


class Plan(KoiTest):
    def test_changes_are_2_and_none_is_0(self):
        self.answer("GET", "/v1/plan", 200, {"changes": []})
        self.assertEqual(self.expect("plan", FINE).stdout, "no changes\n")
        self.answer("GET", "/v1/plan", 200, {"changes": [{"kind": "ipvs", "text": "add backend 10.0.0.7:8080"},
                                                         {"kind": "vip", "text": "join vhid 51"}]})
        self.assertEqual(self.expect("plan", CHANGES).stdout, "add backend 10.0.0.7:8080\njoin vhid 51\n")
        self.assertEqual(len(json.loads(self.expect("plan -o json", CHANGES).stdout)["changes"]), 2)

    def write(self, name, text):
        path = os.path.join(os.path.realpath(self.folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
        return path

    def test_another_file_is_sent_with_what_it_includes(self):
        self.answer("POST", "/v1/plan", 200, {"changes": []})
        top = self.write("koi.yaml", "carp: { key_file: /secret.key }\nvips: !include vips.d/*.yaml\npools: !include pools.yaml\n")
        parts = [self.write("vips.d/1.yaml", '- { addresses: ["2001:db8::10/64"] }\n'), self.write("vips.d/2.yaml", ""),
                 self.write("pools.yaml", "{}\n")]
        self.write("vips.d/ignored.txt", "x")
        here = os.path.realpath(self.folder)
        for words, cwd in (("plan -c koi.yaml", self.folder), (f"plan -c {top}", "/")):
            self.expect(words, FINE, cwd=cwd)
            sent = json.loads(self.koid.asked[-1][2])
            self.assertEqual(sent["configuration"], top)
            self.assertEqual({name: Path(name).read_text() for name in [top, *parts]}, sent["files"])
            self.assertEqual(sent["patterns"], {here + "/vips.d/*.yaml": parts[:2]})
        self.expect("plan -c -", FINE, input="vips: []\n")
        self.assertEqual(json.loads(self.koid.asked[-1][2])["files"], {"/dev/stdin": "vips: []\n"})

    def test_a_file_that_cannot_be_read_or_is_no_yaml_is_told_without_asking(self):
        for text, told in [("a: [\n", ':1:4  a: the "[" that opens here is never closed'), (b"a: \xff\n", ":1:4  "),
                           ("a: !include none.yaml\n", "/none.yaml: No such file or directory")]:
            path = self.write("koi.yaml", text)
            done = self.expect("plan -c " + path, FAILED, err=f"koi: the configuration {path} cannot be used\n")
            self.assertTrue(done.stderr.startswith(path + ":1:4  "), done.stderr)
            self.assertIn(told, done.stderr)
        self.expect(f"plan -c {self.folder}/none.yaml", FAILED, err="No such file or directory")
        self.expect(f"plan -c {self.folder}", FAILED, err="it is a directory")
        self.assertEqual(self.koid.asked, [])

    def test_what_is_too_large_is_told_without_asking(self):
        path = self.write("koi.yaml", "# " + "x" * (9 << 20) + "\nvips: !include more.yaml\n")
        self.write("more.yaml", "# " + "x" * (9 << 20) + "\n")
        self.expect("plan -c " + path, FAILED, err=f"koi: {path} and what it includes are 19 MiB; koid looks at 16 MiB at most")
        self.assertEqual(self.koid.asked, [])

    def test_notes_are_told_beside_the_changes(self):
        self.answer("POST", "/v1/plan", 200, {"changes": [], "notes": ["the key in /k was not looked at"]})
        done = self.expect("plan -c " + self.write("koi.yaml", "vips: []\n"), FINE, err="koi: the key in /k was not looked at\n")
        self.assertEqual(done.stdout, "no changes\n")

    def test_a_file_that_cannot_be_used_is_1_with_every_complaint(self):
        self.answer("POST", "/v1/plan", 422, {"error": "the configuration x.yaml cannot be used",
                                              "complaints": [{"text": "x.yaml:3:1  pools: one"}, {"text": "x.yaml:9:4  vips: two"}]})
        self.write("x.yaml", "vips: []\n")
        done = self.expect("plan -c x.yaml", FAILED, cwd=self.folder)
        self.assertEqual(done.stderr, "x.yaml:3:1  pools: one\nx.yaml:9:4  vips: two\n"
                                      "koi: the configuration x.yaml cannot be used\n")


@unittest.skipUnless(os.geteuid() == 0, "keys are given to a user, which needs root")
class Keygen(KoiTest):
    """The keys go to user nobody here, because a machine without the package has no user koi."""

    def keygen(self, *words, code=FINE, directory=None):
        done = self.koi("keygen", "--owner", "nobody", "--directory", directory or self.folder + "/keys", *words, socket="/none")
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def about(self, name):
        about = os.stat(f"{self.folder}/keys/{name}")
        return oct(about.st_mode & 0o7777), about.st_uid, about.st_gid

    def read(self, name):
        with open(f"{self.folder}/keys/{name}") as file:
            return file.read()

    def test_makes_both_for_koid_alone_and_says_what_to_do(self):
        os.umask(0)
        done = self.keygen()
        nobody = pwd.getpwnam("nobody")
        self.assertEqual(self.about(""), ("0o750", 0, nobody.pw_gid))
        for name, longest, shortest in (("carp.key", 19, 12), ("auth.key", 4096, 32)):
            self.assertEqual(self.about(name), ("0o400", nobody.pw_uid, nobody.pw_gid))
            key = self.read(name)
            self.assertRegex(key, r"^[A-Za-z0-9._]+\n$")
            self.assertTrue(shortest <= len(key) - 1 <= longest, name)
            self.assertNotIn(key.strip(), done.stdout, "a key is never shown")
            self.assertIn(f"{self.folder}/keys/{name}: new", done.stdout)
        self.assertIn(f"sudo tar -C {self.folder} -c keys | ssh root@NODE tar -C {self.folder} -x\n", done.stdout)
        self.assertIn(f"    key_file: {self.folder}/keys/carp.key\n    auth: require\n"
                      f"    auth_keys: {{ 1: {self.folder}/keys/auth.key }}\n", done.stdout)
        self.assertEqual(sorted(os.listdir(self.folder + "/keys")), ["auth.key", "carp.key"])

    def test_its_own_words_copy_the_keys(self):
        line = next(one for one in self.keygen().stdout.splitlines() if "ssh root@NODE" in one)
        there = tempfile.mkdtemp(dir=self.folder)
        line = line.replace("sudo ", "").replace("ssh root@NODE tar -C " + self.folder, "tar -C " + there)
        subprocess.run(line, shell=True, check=True)
        for name in ("", "carp.key", "auth.key"):
            here, copy = os.stat(f"{self.folder}/keys/{name}"), os.stat(f"{there}/keys/{name}")
            self.assertEqual((here.st_mode, here.st_uid, here.st_gid), (copy.st_mode, copy.st_uid, copy.st_gid))

    def test_what_is_there_stays_unless_it_is_told_otherwise(self):
        self.keygen()
        before = self.read("carp.key"), self.read("auth.key")
        os.unlink(self.folder + "/keys/auth.key")
        done = self.keygen()
        self.assertIn("carp.key: is there already and stays\n", done.stdout)
        self.assertEqual(self.read("carp.key"), before[0])
        self.assertNotEqual(self.read("auth.key"), before[1])
        done = self.keygen("--force")
        self.assertIn("carp.key: replaced by a new one", done.stdout)
        self.assertIn("do not hear each other", done.stdout)
        self.assertNotEqual(self.read("carp.key"), before[0])
        os.chmod(self.folder + "/keys/carp.key", 0o644)
        told = re.search(r"carp.key: .* cannot use it as it is; run: koi (keygen --adopt .*)", self.keygen().stdout)
        self.expect(told[1], FINE, out="carp.key: belongs to nobody now")
        self.assertEqual(self.about("carp.key")[0], "0o400")

    def test_keys_that_were_copied_become_koids_own(self):
        os.makedirs(self.folder + "/keys")
        for name, mode in (("carp.key", 0o644), ("second.key", 0o600), ("notes.txt", 0o644)):
            with open(f"{self.folder}/keys/{name}", "w") as file:
                file.write("secret\n")
            os.chmod(f"{self.folder}/keys/{name}", mode)
        elsewhere = self.folder + "/old.key"
        shutil.copy(self.folder + "/keys/carp.key", elsewhere)
        config = self.folder + "/koi.yaml"
        with open(config, "w") as file:  # named, though the rest cannot be used
            file.write(f"carp: {{ key_file: {elsewhere} }}\nvips: [ {{ vhid: 1 }}, {{ vhid: 3, key_file: {self.folder}/keys/second.key }}, {{ vhid: 2, key_file: {self.folder}/none.key }} ]\n")
        done = self.keygen("--adopt", "-c", config, code=FAILED)
        nobody = pwd.getpwnam("nobody")
        for path in (self.folder + "/keys/carp.key", self.folder + "/keys/second.key", elsewhere):
            about = os.stat(path)
            self.assertEqual((about.st_mode & 0o777, about.st_uid), (0o400, nobody.pw_uid))
            self.assertIn(f"{path}: belongs to nobody now, and only nobody can read it\n", done.stdout)
        self.assertEqual(self.about("notes.txt")[:2], ("0o644", 0))
        self.assertIn(f"opening {self.folder}/none.key: No such file or directory", done.stderr)
        self.assertIn(f"user nobody may not enter {self.folder}", done.stderr)
        with open(config, "w") as file:
            file.write("vips: []\n")
        self.assertIn("carp.key: is right, it belongs to nobody\n", self.keygen("--adopt", "-c", config).stdout)

    def test_a_link_is_not_followed(self):
        os.makedirs(self.folder + "/keys")
        with open(self.folder + "/precious", "w") as file:
            file.write("x")
        os.symlink("../precious", self.folder + "/keys/carp.key")
        self.assertIn("carp.key is a link", self.keygen("--adopt", code=FAILED).stderr)
        self.assertEqual(os.stat(self.folder + "/precious").st_uid, 0)
        os.unlink(self.folder + "/keys/carp.key")
        os.link(self.folder + "/precious", self.folder + "/keys/carp.key")
        self.assertIn("no plain file with one name", self.keygen("--adopt", code=FAILED).stderr)

    def test_what_cannot_be_done_says_so(self):
        self.assertIn("there is no key to adopt", self.keygen("--adopt", "-c", "/none", code=FAILED).stderr)
        self.assertIn("making /none/such: No such file or directory", self.keygen(directory="/none/such", code=FAILED).stderr)
        with open(self.folder + "/file", "w"):
            pass
        self.assertIn("is no directory", self.keygen(directory=self.folder + "/file", code=FAILED).stderr)
        os.mkdir(self.folder + "/open")
        os.chmod(self.folder + "/open", 0o777)
        self.assertIn("others than its owner can write in", self.keygen(directory=self.folder + "/open", code=FAILED).stderr)
        self.expect("keygen --owner nosuchuser", FAILED, err="there is no user nosuchuser on this machine")
        self.expect("keygen --force --adopt", USAGE)
        self.expect("keygen -c /etc/koi/koi.yaml", USAGE)

    def test_without_root_it_says_so(self):
        copy = self.folder + "/koi"
        shutil.copy(KOI, copy)
        os.chmod(self.folder, 0o755)
        done = subprocess.run([copy, "keygen"], capture_output=True, text=True, user=65534, group=65534, extra_groups=[],
                              timeout=60, cwd="/", env={k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k})
        self.assertEqual(done.returncode, FAILED)
        self.assertEqual(done.stderr, "koi: keygen gives the keys to user koi, which only root can; use sudo\n")


class Reload(KoiTest):
    def test_applied_and_unchanged_are_0(self):
        self.answer("POST", "/v1/reload", 200, {"outcome": "applied", "configuration": "/etc/koi/koi.yaml", "complaints": []})
        self.assertEqual(self.expect("reload", FINE).stdout, "/etc/koi/koi.yaml is applied\n")
        self.answer("POST", "/v1/reload", 200, {"outcome": "unchanged", "configuration": "/etc/koi/koi.yaml"})
        self.assertEqual(self.expect("reload", FINE).stdout, "/etc/koi/koi.yaml has not changed\n")
        self.assertEqual(json.loads(self.expect("reload -o json", FINE).stdout)["outcome"], "unchanged")

    def test_refused_is_1_with_every_complaint(self):
        self.answer("POST", "/v1/reload", 422, {"outcome": "refused", "configuration": "/etc/koi/koi.yaml",
                                                "complaints": [{"text": "koi.yaml:3:1  pools: one"}]})
        done = self.expect("reload", FAILED)
        self.assertEqual(done.stderr, "koi.yaml:3:1  pools: one\n"
                                      "koi: /etc/koi/koi.yaml cannot be used; the running configuration stays\n")


class Step(KoiTest):
    def test_down_and_up(self):
        for word in ("step-down", "step-up"):
            self.answer("POST", "/v1/" + word, 200, {"outcome": "told"})
            self.expect(word + " 51", FINE, out="vhid 51")
            self.assertEqual(json.loads(self.koid.asked[-1][2]), {"vhid": 51})
        self.answer("POST", "/v1/step-down", 404, {"error": "vhid 7 is not in the configuration"})
        self.expect("step-down 7", FAILED, err="vhid 7 is not in the configuration")


class Drill(KoiTest):
    LEADS = {"vhid": 51, "role": "master", "master": None}
    STANDBY = {"vhid": 51, "address": "10.0.0.2", "standby": True, "demotion": 0, "healthy_backends": 2, "backends": 2,
               "other_configuration": False}

    def refuses(self, role, peers, err):
        self.answer("GET", "/v1/status", 200, {"roles": [role], "peers": peers, "vips": []})
        self.expect("drill 51", FAILED, err=err)
        self.assertEqual([asked for asked in self.koid.asked if asked[0] == "POST"], [], "nothing is touched")

    def test_without_a_fit_standby_it_refuses(self):
        self.refuses(self.LEADS, [], "nobody stands by for vhid 51")
        self.refuses(self.LEADS, [{**self.STANDBY, "standby": False}], "nobody stands by")
        self.refuses(self.LEADS, [{**self.STANDBY, "vhid": 52}], "nobody stands by")
        self.refuses(self.LEADS, [{**self.STANDBY, "demotion": 240}], "10.0.0.2 stands by but is demoted by 240")
        self.refuses(self.LEADS, [{**self.STANDBY, "other_configuration": True}], "another configuration")

    def test_a_node_that_would_not_come_back_by_itself_refuses_and_proposes_the_switch_one_way(self):
        self.refuses({**self.LEADS, "preempt": False}, [self.STANDBY], "has preempt: false on this node")
        self.refuses({**self.LEADS, "preempt": False}, [self.STANDBY], "koi step-down 51 here")

    def starts(self, there, back=None, env={}, **more):
        """koid with a fit standby, whose role is `there` once it was told to step down, and `back` after step-up."""
        roles = {"now": {**self.LEADS, "preempt": True}}
        self.stepped_down = threading.Event()

        def status(handler):
            content = json.dumps({"roles": [roles["now"]], "peers": [self.STANDBY], "vips": []}).encode()
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)

        def step(role, told):
            def answer(handler):
                roles["now"] = {**roles["now"], **role}
                handler.send_response(200)
                handler.send_header("Content-Length", "2")
                handler.end_headers()
                handler.wfile.write(b"{}")
                told.set()
            return answer

        self.koid.answers[("GET", "/v1/status")] = status
        self.koid.answers[("POST", "/v1/step-down")] = step(there, self.stepped_down)
        self.koid.answers[("POST", "/v1/step-up")] = step(back or self.LEADS, threading.Event())
        more = {"stdout": subprocess.PIPE, **more}
        return subprocess.Popen([KOI, "drill", "51"], stderr=subprocess.PIPE, text=True,
                                env={"KOI_SOCKET": self.socket, **env}, **more)

    def ends(self, drill, code, err):
        told = drill.communicate(timeout=60)
        self.assertEqual(drill.returncode, code, told)
        self.assertIn(err, told[1])
        return told[0]

    def steps(self):
        return [path for method, path, _ in self.koid.asked if method == "POST"]

    def test_there_and_back(self):
        out = self.ends(self.starts({"role": "backup", "master": "10.0.0.2"}), FINE, "")
        self.assertIn("there  the standby leads after", out)
        self.assertIn("back   this node leads after", out)
        self.assertEqual(self.steps(), ["/v1/step-down", "/v1/step-up"])

    def test_where_nobody_took_over_it_says_so_and_steps_up(self):
        out = self.ends(self.starts({"role": "backup", "master": None}), FAILED, "nobody took over")
        self.assertNotIn("the standby leads", out)
        self.assertEqual(self.steps(), ["/v1/step-down", "/v1/step-up"])

    def test_however_it_is_ended_the_node_takes_part_again_and_that_is_said(self):
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            with self.subTest(how.name):
                self.koid.asked.clear()
                drill = self.starts({"role": "master"})  # still: the leg waits
                self.assertTrue(self.stepped_down.wait(20))
                drill.send_signal(how)
                self.ends(drill, FAILED, "koi: interrupted; this node takes part in the election again\n")
                self.assertEqual(self.steps(), ["/v1/step-down", "/v1/step-up"])

    def test_ended_before_the_switch_it_switches_nothing(self):
        drill = self.starts({"role": "backup", "master": "10.0.0.2"})
        drill.stdout.readline()
        drill.send_signal(signal.SIGINT)
        self.ends(drill, FAILED, "koi: interrupted\n")
        self.assertEqual(self.steps(), [])

    def test_a_drill_that_shall_outlive_its_terminal_does(self):
        drill = self.starts({"role": "backup", "master": "10.0.0.2"},
                            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.assertTrue(self.stepped_down.wait(20))
        drill.send_signal(signal.SIGHUP)
        self.ends(drill, FINE, "")

    def test_a_node_that_cannot_be_told_to_step_up_is_said_with_the_remedy(self):
        drill = self.starts({"role": "master"})
        self.assertTrue(self.stepped_down.wait(20))
        self.answer("POST", "/v1/step-up", 500, {"error": "no"})
        drill.send_signal(signal.SIGINT)
        self.ends(drill, FAILED, "could not be told to take part again (koid refused to step-up): koi step-up 51\n")

    def test_where_another_node_leads_it_refuses(self):
        self.refuses({**self.LEADS, "role": "backup", "master": "10.0.0.9"}, [self.STANDBY],
                     "the drill belongs to the node that leads, 10.0.0.9")
        self.refuses({**self.LEADS, "vhid": 52}, [], "vhid 51 is not in the configuration")


class Events(KoiTest):
    LINES = [{"number": 1, "time": "2024-05-04T03:32:01.123Z", "level": 5, "event": "role", "sentence": "vhid 51 is master", "fields": {}},
             {"number": 2, "time": "2024-05-04T03:32:02.000Z", "level": 4, "event": "source", "sentence": "cannot say", "fields": {}}]

    def test_lines_for_people_and_for_programs(self):
        text = "".join(json.dumps(line) + "\n" for line in self.LINES)
        self.answer("GET", "/v1/events", 200, text)
        self.assertEqual(self.expect("events -n 2", FINE).stdout,
                         "2024-05-04T03:32:01.123Z  role        vhid 51 is master\n"
                         "2024-05-04T03:32:02.000Z  source      cannot say\n")
        self.assertEqual(self.koid.asked[-1][1], "/v1/events?most=2")
        self.assertEqual(self.expect("events -o json", FINE).stdout, text)

    def test_nonsense_in_a_line_is_no_crash(self):
        self.answer("GET", "/v1/events", 200, 'nonsense\n[]\n{"level": "x", "sentence": 7}\n\n')
        self.assertEqual(self.koi("events").returncode, FINE)

    def test_following_prints_each_line_as_it_comes_and_ends_with_koid(self):
        go_on = threading.Event()

        def stream(handler):
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            for i, line in enumerate(self.LINES):
                whole = (json.dumps(line) + "\n").encode()
                for part in (whole[:10], whole[10:]):  # a line may arrive in parts
                    handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    handler.wfile.flush()
                if i == 0:
                    go_on.wait(20)
            handler.wfile.write(b"0\r\n\r\n")

        self.koid.answers[("GET", "/v1/events")] = stream
        koi = subprocess.Popen([KOI, "events", "-f", "-n", "5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={"KOI_SOCKET": self.socket})
        self.assertIn("vhid 51 is master", koi.stdout.readline())  # before the rest was sent
        go_on.set()
        rest, err = koi.communicate(timeout=20)
        self.assertIn("cannot say", rest)
        self.assertIn("koid ended", err)
        self.assertEqual(koi.returncode, NOT_RUNNING)
        self.assertEqual(self.koid.asked[-1][1], "/v1/events?most=5&follow=1")

    def test_an_interrupt_ends_following(self):
        started = threading.Event()

        def stream(handler):
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.flush()
            started.set()
            time.sleep(20)

        self.koid.answers[("GET", "/v1/events")] = stream
        koi = subprocess.Popen([KOI, "events", "-f"], env={"KOI_SOCKET": self.socket})
        self.assertTrue(started.wait(20))
        koi.send_signal(signal.SIGINT)
        self.assertEqual(koi.wait(timeout=20), -signal.SIGINT)


class Version(KoiTest):
    def test_it_is_said_without_asking_anybody(self):
        for words in ("version", "--version"):
            self.assertRegex(self.expect(words, FINE).stdout, r"^koi [0-9]+\.[0-9]+\.[0-9]+\n$")
        self.assertEqual(self.koid.asked, [])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    KOI = os.path.abspath(sys.argv.pop(1))
    unittest.main()
