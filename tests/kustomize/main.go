// A kustomize for tests on machines that have neither kustomize nor kubectl: its own library, behind the two commands that are used of it.
//
//	kustomize version
//	kustomize build DIRECTORY
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "version":
		fmt.Println("library", version())
	case len(os.Args) == 3 && os.Args[1] == "build":
		if err := build(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "Error:", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "kustomize version | build DIRECTORY")
		os.Exit(2)
	}
}

func build(directory string) error {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy // as the command does
	made, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		return err
	}
	text, err := made.AsYaml()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "sigs.k8s.io/kustomize/api" {
			return module.Version
		}
	}
	return "unknown"
}
