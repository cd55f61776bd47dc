# What runs inside a sandbox: its programs as a folder, and the image that a microVM boots with them.
{ lib, settings }:
let
  busybox = lib.tool "busybox";
  text = path: lib.fill { inherit busybox; inherit (settings) version; } (builtins.readFile path);
  drivers = "/usr/local/lib/switchproof-lab/guest/modules";
in
rec {
  programs = lib.build "sandbox-${settings.version}" ''
    ${lib.executable "sandbox/start" (text ./start.sh)}
    ${lib.executable "sandbox/answer" (text ./answer.sh)}
    ${lib.file "sandbox/http" (builtins.readFile ../programs/http.sh)}
  '';

  image = lib.build "image-${settings.version}" ''
    mkdir -p root/dev root/modules root/proc root/run "root/$(dirname ${busybox})" "$out"
    cp -r ${programs}/sandbox ${drivers} root
    cp -r ${busybox} root${busybox}
    chmod -R u+w root
    printf '%s' ${lib.quote (text ./init.sh)} >root/init
    printf '%s' ${lib.quote (text ./panic.sh)} >root/sandbox/panic
    chmod +x root/init root/sandbox/panic
    cd root
    find . | sort | ${busybox}/bin/busybox cpio -o -H newc | gzip >"$out/initramfs.gz"
  '';
}
