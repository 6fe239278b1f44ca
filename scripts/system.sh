#!/usr/bin/env bash
# Debian's packages that the tests drive Sololith with. Asks apt for what is missing, and for nothing else.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

wanted="chromium:chromium chromium-headless-shell:chromium-headless-shell strace:strace ss:iproute2 ps:procps Xvfb:xvfb xdotool:xdotool unshare:util-linux faketime:faketime nix:nix-bin"
missing=()
for pair in $wanted; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
if command -v dpkg >/dev/null && ! dpkg -s fonts-liberation >/dev/null 2>&1; then missing+=(fonts-liberation); fi
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

command -v apt-get >/dev/null || {
  echo "The tests need ${missing[*]}, and there is no apt-get here. Install them by hand; tests that lack theirs fail." >&2
  exit 0
}
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  sudo -n true 2>/dev/null || {
    echo "The tests need packages that only root can install. Run: sudo apt-get install ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
echo "Installing ${missing[*]} with apt-get."
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
