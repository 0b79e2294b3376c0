"""From a directory of a repository to Manifests: plain files, kustomize, Helm, Jsonnet and plugins, behind a cache that is addressed by content."""
