"""OpenCore's boot disk, made from the upstream's own folder and configuration."""
