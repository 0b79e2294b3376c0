"""From a directory of a repository to Manifests: plain files and kustomize, behind a cache that is addressed by content."""
