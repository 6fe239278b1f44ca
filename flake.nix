{
  description = "Sololith: a local-first, single-user web framework, and the workbench it makes";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      # Intel Macs are not here: nixpkgs drops them with 26.11. They start with plain uv (docs/install.md).
      systems = [ "x86_64-linux" "aarch64-linux" "aarch64-darwin" ];
      forEachSystem = f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});

      # What compiled wheels look for on Linux, where Nix has it in no standard place: libstdc++, libgomp and
      # libgcc_s are in the first, libz is in the second.
      wheelLibraries = pkgs: lib.makeLibraryPath [ pkgs.stdenv.cc.cc.lib pkgs.zlib ];

      launcher = pkgs:
        let
          python = "${pkgs.python313}/bin/python3";
          # Another set of packages or another Python is another venv; one is never changed after it was made.
          # The whole store path of Python counts, because the venv links to it.
          key = builtins.substring 0 16
            (builtins.hashString "sha256" (builtins.readFile ./requirements.txt + python));
        in
        pkgs.writeShellApplication {
          name = "sololith";
          runtimeInputs = [ pkgs.python313 pkgs.uv ];
          text = ''
            home="''${HOME:?is not set, so there is no place for the Python packages.}"
            data="''${XDG_DATA_HOME:-$home/.local/share}/sololith"
            venv="$data/venv-${key}"

            # Settings for another Python would mislead ours.
            unset PYTHONHOME

            if [ ! -x "$venv/bin/python" ]; then
              echo "Sololith is setting up its Python packages in $venv (this happens once)." >&2
              mkdir -p "$data"
              # Left by a set-up that was killed. A day is far longer than any set-up still at work.
              find "$data" -maxdepth 1 -name '.making-*' -mtime +0 -exec rm -rf {} +
              # Made beside its place and renamed when complete: whoever sees the folder sees all of it.
              making="$(mktemp -d "$data/.making-XXXXXXXX")"
              trap 'rm -rf "$making"' EXIT
              # --directory: settings of a project one happens to stand in are not ours.
              # --only-binary: nothing is compiled here, and no package's set-up code runs.
              if ! {
                uv --directory "$data" venv --quiet --no-project --relocatable --python ${python} \
                  "$making/venv" &&
                  uv --directory "$data" pip sync --require-hashes --only-binary :all: \
                    --python "$making/venv/bin/python" ${self}/requirements.txt
              }; then
                echo "sololith: the Python packages could not be fetched; nothing was installed." >&2
                echo "Fix what uv says above (a network is needed, this once), then start it again." >&2
                exit 1
              fi
              # rename(2) never replaces a folder that has something in it: of two that set up at once, one
              # wins and the other throws its own away.
              python3 -I -c 'import os, sys; os.rename(*sys.argv[1:])' "$making/venv" "$venv" 2>/dev/null || true
              if [ ! -x "$venv/bin/python" ]; then
                echo "sololith: $venv is damaged or cannot be written. Delete it, then start again." >&2
                exit 1
              fi
              rm -rf "$making"
              trap - EXIT
            fi

          '' + lib.optionalString pkgs.stdenv.hostPlatform.isLinux ''
            # The app takes this out of its environment again: a browser it starts has libraries of its own.
            export LD_LIBRARY_PATH="${wheelLibraries pkgs}''${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
          '' + ''
            export PYTHONPATH=${self}
            # -P: no module is taken from the folder one stands in. Compiled files go into the venv's folder,
            # since the source is read-only here and would be compiled anew at each start.
            exec "$venv/bin/python" -P -X pycache_prefix="$venv/pycache" -m sololith "$@"
          '';
        };

      # A workbench brings tools and nothing happens on entering it: no server, no git, no download.
      workbench = pkgs: more:
        pkgs.mkShell {
          packages = [ pkgs.python313 pkgs.uv ] ++ more;
          env = {
            UV_PYTHON_DOWNLOADS = "never"; # those would not run on NixOS, and ours is here
          } // lib.optionalAttrs pkgs.stdenv.hostPlatform.isLinux {
            LD_LIBRARY_PATH = wheelLibraries pkgs;
          };
        };
    in
    {
      packages = forEachSystem (pkgs: { default = launcher pkgs; });

      devShells = forEachSystem (pkgs: {
        default = workbench pkgs [ ];
        full = workbench pkgs
          ([ pkgs.ollama ] ++ lib.optionals pkgs.stdenv.hostPlatform.isLinux [ pkgs.chromium pkgs.nodejs ]);
      });

      checks = forEachSystem (pkgs: { launcher = launcher pkgs; });
    };
}
