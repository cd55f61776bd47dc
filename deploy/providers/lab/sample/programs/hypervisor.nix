# The page that users log in at.
{ lib, name, settings }:
lib.server {
  name = "hypervisor";
  values = {
    inherit (settings) version;
    busybox = lib.tool "busybox";
    http = ./http.sh;
    node = name;
  };
  files = {
    hypervisor = ./hypervisor-start.sh;
    answer = ./hypervisor-answer.sh;
  };
}
