# Building without nixpkgs: /bin/sh and the tools of the machine that builds.
rec {
  build =
    name: script:
    derivation {
      inherit name;
      system = "x86_64-linux";
      builder = "/bin/sh";
      args = [
        "-euc"
        "export PATH=/usr/bin:/bin\n${script}"
      ];
    };

  # Puts values in the place of @names@; @out@ is where the text itself is going to be.
  fill =
    values: text:
    let
      all = values // {
        out = placeholder "out";
      };
      names = builtins.attrNames all;
    in
    builtins.replaceStrings (map (name: "@${name}@") names) (map (name: "${all.${name}}") names) text;

  quote = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] text}'";

  file = path: text: ''
    mkdir -p "$(dirname "$out/${path}")"
    printf '%s' ${quote text} >"$out/${path}"
  '';

  executable = path: text: file path text + "chmod +x \"$out/${path}\"\n";

  each = builtins.concatStringsSep "";

  # Units run nothing but store paths: what they need of the machine is copied.
  tool =
    name:
    build name ''
      mkdir -p "$out/bin"
      cp "$(readlink -f "$(command -v ${name})")" "$out/bin/${name}"
    '';

  # Lets a unit log the word that a trial has given it, if any, at its start.
  logWord =
    name:
    "ExecStartPre=${tool "busybox"}/bin/busybox sh -c 'cat /etc/switchproof-lab/word-${name} 2>/dev/null; true'";

  # Programs in bin, from files by name, filled with values.
  programs =
    values: files:
    each (map (name: executable "bin/${name}" (fill values (builtins.readFile files.${name}))) (builtins.attrNames files));

  # An HTTP server: socat hands each connection to bin/answer. Every release has a copy of its own, so that
  # the executable of a process tells which release it belongs to.
  server =
    { name, values, files }:
    build "${name}-${values.version}" (
      ''
        mkdir -p "$out/libexec"
        cp "$(readlink -f "$(command -v socat)")" "$out/libexec/${name}"
      ''
      + programs values files
    );
}
