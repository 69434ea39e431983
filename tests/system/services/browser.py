"""Chromium, for the dashboard."""

from tests.system.services import packages
from tests.system.services.ground import Endpoint, Ground

NEEDS = ()
PACKAGES = packages.BROWSER


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """`command` is the program with the options that a root user without a display needs; no process."""
    profile = ground.make("browser", "profile")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    return {
        "path": "/usr/bin/chromium",
        "options": options,
        "command": ["/usr/bin/chromium", *options, f"--user-data-dir={profile}"],
    }
