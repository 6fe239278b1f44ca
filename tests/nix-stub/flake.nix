# Stands in for nixpkgs, which cannot be had offline: only the part of it that our flake may use. Anything else
# (a misspelled package, a Linux-only one on macOS, a wrong argument name) is an evaluation error: that is the point.
{
  outputs = { self }:
    let
      lib = import ./lib.nix;
      packages = system:
        if system == "x86_64-darwin" then throw "x86_64-darwin is dropped in nixpkgs 26.11"
        else import ./. { inherit system; };
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs lib.systems.flakeExposed packages;
    };
}
