"""A Wayland client's side of the wire, for the screens and the input of Wayland sessions. Band: core."""
