# Pommel for Nix: `nix run "git+ADDRESS?dir=packages"`, with the address of Pommel's repository. Not evaluated by Pommel's
# authors; its syntax is checked. The libraries are nixpkgs' own; the build refuses one that is older than pyproject.toml
# allows, by name (pythonRuntimeDepsCheckHook).
{
  description = "macOS virtual machines, with their screen, keyboard and mouse in the browser";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
      python = pkgs.python313;

      # nixpkgs does not have it. The wheel is the one of lock/run.txt, by the same hash.
      simplejpeg = python.pkgs.buildPythonPackage rec {
        pname = "simplejpeg";
        version = "1.9.0";
        format = "wheel";
        src = python.pkgs.fetchPypi {
          inherit pname version format;
          dist = "cp313";
          python = "cp313";
          abi = "cp313";
          platform = "manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64";
          sha256 = "d00feb1cc0348aba0a41db6dbda4db468db92099b1b3d473159e6f68aa990795";
        };
        nativeBuildInputs = [ pkgs.autoPatchelfHook ];
        buildInputs = [ pkgs.stdenv.cc.cc.lib ];
        dependencies = [ python.pkgs.numpy ];
        pythonImportsCheck = [ "simplejpeg" ];
      };

      # What `pommel setup` would install elsewhere (src/pommel/host/needs.py).
      programs = with pkgs; [
        qemu
        openssh
        bubblewrap
        git
        dosfstools
        mtools
      ];

      pommel = python.pkgs.buildPythonApplication {
        pname = "pommel";
        version = "0.2.0";
        pyproject = true;
        src = ../.;
        build-system = [ python.pkgs.hatchling ];
        dependencies = with python.pkgs; [
          aiohttp
          click
          cryptography
          numpy
          packaging
          pillow
          platformdirs
          python-xlib
          qemu-qmp
          rich
          simplejpeg
          textual
          yarl
          zstandard
        ];
        makeWrapperArgs = [ "--prefix PATH : ${pkgs.lib.makeBinPath programs}" ];
        postInstall = ''
          PYTHONPATH=$out/${python.sitePackages}:$PYTHONPATH ${python.interpreter} -P tools/shared_files.py $out/share
        '';
        meta = {
          description = "macOS virtual machines, with their screen, keyboard and mouse in the browser";
          license = pkgs.lib.licenses.mit;
          mainProgram = "pommel";
          platforms = [ system ];
        };
      };
    in
    {
      packages.${system}.default = pommel;
      apps.${system}.default = {
        type = "app";
        program = "${pommel}/bin/pommel";
      };
    };
}
