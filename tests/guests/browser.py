"""A browser at a guest's console: opens its page, waits for the screen, types, and says what it sees.

usage: browser.py URL PICTURE [TEXT]

Speaks the DevTools protocol over the pipe that `chromium --remote-debugging-pipe` has for it. Prints a line for each thing that came about.
BROWSER_OPTIONS are further options of the browser.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time

PATIENCE = 120
STATUS = "document.getElementById('status')?.textContent ?? document.body?.innerText ?? ''"
# how many points of the screen are not black, and a sum that another picture has not
SCREEN = """(() => {
  const canvas = document.querySelector('#screen canvas');
  if (!canvas || !canvas.width) return null;
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let lit = 0, sum = 0;
  for (let at = 0; at < data.length; at += 4) {
    const light = data[at] + data[at + 1] + data[at + 2];
    if (light > 60) { lit++; sum = (sum * 31 + at) % 1000000007; }
  }
  return {width: canvas.width, height: canvas.height, lit, sum};
})()"""


class Browser:
    """A browser with one page."""

    def __init__(self, profile):
        to_browser, self.orders = os.pipe()
        self.answers, from_browser = os.pipe()
        arguments = [
            "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--remote-debugging-pipe", f"--user-data-dir={profile}", "--window-size=900,700",
            *os.environ.get("BROWSER_OPTIONS", "").split(), "about:blank",
        ]

        # the browser reads its third descriptor and writes to its fourth
        def place():
            high = os.dup2(to_browser, 30), os.dup2(from_browser, 31)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.log = open(os.path.join(profile, "log"), "wb")
        self.process = subprocess.Popen(arguments, preexec_fn=place, close_fds=False, stdout=self.log, stderr=self.log)
        os.close(to_browser)
        os.close(from_browser)
        self.number, self.rest, self.session = 0, b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.orders, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"the browser refuses {method}: {answer['error']}")
                return answer["result"]

    def read(self):
        while b"\0" not in self.rest:
            some = os.read(self.answers, 1 << 16)
            if not some:
                raise SystemExit("the browser is gone")
            self.rest += some
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def until(self, what, expression, good):
        end = time.monotonic() + PATIENCE
        while not good(value := self.evaluate(expression)):
            if time.monotonic() > end:
                raise SystemExit(f"{what}: {value!r}")
            time.sleep(0.2)
        return value

    def type(self, text):
        for letter in text:
            code = "Enter" if letter == "\n" else "Minus" if letter == "-" else f"Key{letter.upper()}"
            key = {"key": "Enter" if letter == "\n" else letter, "code": code, "windowsVirtualKeyCode": ord(letter.upper())}
            self.call("Input.dispatchKeyEvent", type="keyDown", **key)
            self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def close(self):
        self.process.kill()
        self.process.wait()


def main(url, picture, text=""):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        try:
            browser.call("Page.navigate", url=url)
            status = browser.until("the page says", STATUS, lambda said: said and not said.startswith("Connecting"))
            print("status:", status, flush=True)
            if not status.startswith("Connected"):
                return
            screen = browser.until("the screen is", SCREEN, lambda seen: seen and seen["lit"] > 200)
            print("screen: {width}x{height}, {lit} points lit".format(**screen), flush=True)
            browser.type(text)
            if text:
                browser.until("the screen stays", SCREEN, lambda seen: seen and seen["sum"] != screen["sum"])
                print("typed:", text, flush=True)
            shot = browser.call("Page.captureScreenshot", format="png")["data"]
            with open(picture, "wb") as file:
                file.write(base64.b64decode(shot))
        finally:
            browser.close()


main(*sys.argv[1:])
