rec {
  # the part of nixpkgs.lib the flake may use; anything else is an evaluation error
  systems.flakeExposed = [ "x86_64-linux" "aarch64-linux" "aarch64-darwin" "x86_64-darwin" ];
  genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
  optionals = c: xs: if c then xs else [ ];
  optionalString = c: s: if c then s else "";
  optionalAttrs = c: a: if c then a else { };
  join = d: ps: builtins.concatStringsSep ":" (map (p: "${p}/${d}") ps);
  makeLibraryPath = join "lib";
  makeBinPath = join "bin";
}
