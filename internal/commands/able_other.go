//go:build !linux

package commands

func kernelRelease() string { return "" }

func onOverlay(string) bool { return false }

func openFUSE() error { return nil }

func isLocal(string) bool { return false }
