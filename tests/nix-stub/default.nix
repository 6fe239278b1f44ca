{ system, config ? { } }:
let
  lib = import ./lib.nix;
  isLinux = builtins.match ".*-linux" system != null;

  # Where the "packages" are taken from. A file `host-path` beside this one (the test writes it into a copy) names
  # one more folder, looked in first. It adds no package: only the names below exist, wherever their programs lie.
  more = if builtins.pathExists ./host-path then builtins.readFile ./host-path + ":" else "";
  hostPath = "${more}/usr/local/bin:/usr/bin:/bin";

  mk = name: script: attrs: derivation
    ({
      inherit name system;
      builder = "/bin/bash";
      args = [ "-c" "export PATH=${hostPath}; mkdir -p $out/bin $out/lib; ${script}" ];
    } // attrs) // { pname = name; meta.mainProgram = name; };

  # $out/bin/<exe>: the host's, or a script that fails when it is run
  tool = exe: mk exe ''
    h=$(command -v ${exe}) && ln -s "$h" $out/bin/${exe} || {
      printf '#!/bin/sh\nexit 69\n' >$out/bin/${exe}
      chmod +x $out/bin/${exe}
    }'' { };

  libs = name: sos: mk name ''
    for l in ${sos}; do
      for d in /opt/stub-libs /usr/lib/*-linux-gnu; do [ ! -e $d/$l ] || ln -sf $d/$l $out/lib/; done
    done'' { };

  only = ok: p: if ok then p else throw "${p.pname} is not available on ${system}";

  setup = ''echo 'for p in $packages; do PATH=$p/bin:$PATH; done; export PATH' >$out/setup'';
  stdenv = mk "stdenv" setup { } // {
    hostPlatform = { inherit system isLinux; isDarwin = !isLinux; };
    cc.cc.lib = only isLinux (libs "gcc-lib" "libstdc++.so.6 libgomp.so.1 libgcc_s.so.1");
  };
in
{
  inherit lib stdenv;
  python313 = tool "python3";
  uv = tool "uv";
  nodejs = tool "node";
  ollama = tool "ollama";
  chromium = only isLinux (tool "chromium");
  zlib = libs "zlib" "libz.so.1";

  # The real one also refuses what shellcheck finds; this one does so where the host has it.
  writeShellApplication = { name, text, runtimeInputs ? [ ], runtimeEnv ? { } }: mk name
    ''
      printf '%s\n' "$text" >$out/bin/${name}
      chmod +x $out/bin/${name}
      bash -n $out/bin/${name} || exit 1
      if command -v shellcheck >/dev/null; then shellcheck $out/bin/${name} || exit 1; fi''
    {
      text = "#!/bin/bash\nset -euo pipefail\n"
        + toString (map (k: "export ${k}='${runtimeEnv.${k}}'\n") (builtins.attrNames runtimeEnv))
        + "export PATH=\"${lib.makeBinPath runtimeInputs}:$PATH\"\n" + text;
    };

  mkShell = { packages ? [ ], shellHook ? "", env ? { } }:
    mk "nix-shell" "exit 1" (env // { outputs = [ "out" ]; inherit packages shellHook stdenv; });
}
