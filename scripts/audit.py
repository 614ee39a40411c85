"""Known vulnerabilities of the pinned packages (pip-audit), and risky code in gen/ (bandit); `make audit` runs it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    code = run("bandit", "--quiet", "--recursive", "gen", "--configfile", "pyproject.toml").returncode
    print("bandit: no findings." if code == 0 else "bandit: see the findings above.")
    audit = run("pip_audit", "-r", "constraints.txt", "--no-deps", "--disable-pip", "--format", "json", output=True)
    try:
        packages = json.loads(audit.stdout)["dependencies"]
    except (ValueError, KeyError):
        print("pip-audit: it could not run; see above.")
        return 1
    found = [(p["name"], p["version"], v["id"]) for p in packages for v in p.get("vulns", ())]
    for name, version, vulnerability in found:
        print(f"pip-audit: {name} {version}: {vulnerability}")
    skipped = sum("skip_reason" in p for p in packages)
    print(f"pip-audit: {len(packages) - skipped} packages looked up, {len(found)} known vulnerabilities.")
    if skipped:  # it says nothing of these and exits with 0, as if they were well
        print(f"pip-audit: {skipped} packages could not be looked up; run it where the network reaches the index.")
    return 1 if code or found else 0


def run(module: str, *arguments: str, output: bool = False) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, check=False, stdout=subprocess.PIPE if output else None)


if __name__ == "__main__":
    sys.exit(main())
