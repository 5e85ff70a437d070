// Command gogit is a git client made of go-git alone. It names no way to log in,
// so that go-git does what it does by itself: the agent at SSH_AUTH_SOCK, and the
// host keys of ~/.ssh/known_hosts.
//
//	gogit version
//	gogit clone URL FOLDER    a URL "-" is read from the standard input
//	gogit tag FOLDER NAME     tags HEAD on the forge
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "version":
		return version()
	case len(args) == 3 && args[0] == "clone":
		return clone(args[1], args[2])
	case len(args) == 3 && args[0] == "tag":
		return tag(args[1], args[2])
	}
	return errors.New("usage: gogit version | clone URL FOLDER | tag FOLDER NAME")
}

func version() error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("built without modules")
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/go-git/go-git/v5" {
			fmt.Println(m.Version)
			return nil
		}
	}
	return errors.New("built without go-git")
}

func clone(url, folder string) error {
	if url == "-" {
		if _, err := fmt.Scanln(&url); err != nil {
			return err
		}
	}
	_, err := git.PlainClone(folder, false, &git.CloneOptions{URL: url})
	return err
}

func tag(folder, name string) error {
	r, err := git.PlainOpen(folder)
	if err != nil {
		return err
	}
	head, err := r.Head()
	if err != nil {
		return err
	}
	ref, err := r.CreateTag(name, head.Hash(), nil)
	if err != nil {
		return err
	}
	spec := config.RefSpec(ref.Name() + ":" + ref.Name())
	return r.Push(&git.PushOptions{RefSpecs: []config.RefSpec{spec}})
}
