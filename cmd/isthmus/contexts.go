package main

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
)

// contexts is the file that login writes: where control planes are, how to know them, and the tokens to use there. It holds secrets,
// so it is written with mode 0600 and refused when others may read it.
type contexts struct {
	Current  string         `yaml:"current"`
	Contexts []savedContext `yaml:"contexts"`
}

type savedContext struct {
	Name    string   `yaml:"name"`
	Servers []string `yaml:"servers,flow"`
	Pin     string   `yaml:"pin,omitempty"`
	CA      string   `yaml:"ca,omitempty"` // PEM
	Token   string   `yaml:"token,omitempty"`
	User    string   `yaml:"user,omitempty"`   // whose token it is
	Tenant  string   `yaml:"tenant,omitempty"` // of the token; empty for the whole deployment

	Provider string    `yaml:"provider,omitempty"` // TENANT/NAME at which the user signs in; empty for a token that was made by hand
	Expires  time.Time `yaml:"expires,omitempty"`  // of the token; zero for one that has no end
}

// usable tells why a context's token is no good any more; nil when it may be.
func (s savedContext) usable(current string, now time.Time) error {
	again := "isthmus login"
	if s.Name != current {
		again += " --name " + s.Name
	}
	op := "isthmus.context"
	switch {
	case s.Token == "" && s.Provider == "":
		return fault.Newf(op, fault.Unauthenticated, "the context %s has no token: you logged out", s.Name).Advise("log in again: %s --server %s --token-file FILE", again, s.Servers[0])
	case s.Token == "":
		return fault.Newf(op, fault.Unauthenticated, "you are signed out of %s", s.Name).Advise("sign in again: %s", again)
	case s.Expires.IsZero() || now.Before(s.Expires):
		return nil
	case s.Provider == "":
		return fault.Newf(op, fault.Unauthenticated, "the token of %s ended at %s", s.User, s.Expires.UTC().Format(time.RFC3339)).
			Advise("ask an owner of the tenant for a new one, and log in with it: %s --server %s --token-file FILE", again, s.Servers[0])
	}
	return fault.Newf(op, fault.Unauthenticated, "the sign-in of %s ended at %s", s.User, s.Expires.UTC().Format(time.RFC3339)).Advise("sign in again: %s", again)
}

// loadContexts reads the file; none is the same as an empty one.
func (w *world) loadContexts() (contexts, error) {
	var c contexts
	path, err := w.configPath()
	if err != nil {
		return c, err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return c, fault.Wrap("isthmus.loadContexts", fault.Unavailable, err, path+" cannot be read: "+err.Error())
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return c, fault.Newf("isthmus.loadContexts", fault.Denied, "%s holds tokens and others may read it", path).Advise("chmod 600 %s", path)
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(b, &c)
	}
	if err != nil {
		return c, fault.Newf("isthmus.loadContexts", fault.Invalid, "%s cannot be read", path).Because(err).Advise("repair it, or remove it and log in again")
	}
	return c, nil
}

// saveContexts replaces the file in one step.
func (w *world) saveContexts(c contexts) (path string, err error) {
	op := "isthmus.saveContexts"
	if path, err = w.configPath(); err != nil {
		return "", err
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return "", fault.Wrap(op, fault.Internal, err, "")
	}
	if err := keepfile.Write(path, b); err != nil {
		return "", fault.Wrap(op, fault.Unavailable, err, "cannot "+err.Error())
	}
	return path, nil
}

// find returns the context of the name.
func (c *contexts) find(name string) (savedContext, bool) {
	i := slices.IndexFunc(c.Contexts, func(s savedContext) bool { return s.Name == name })
	if i < 0 {
		return savedContext{}, false
	}
	return c.Contexts[i], true
}

// put adds the context, or replaces the one of its name.
func (c *contexts) put(s savedContext) {
	c.remove(s.Name)
	c.Contexts = append(c.Contexts, s)
	slices.SortFunc(c.Contexts, func(a, b savedContext) int { return strings.Compare(a.Name, b.Name) })
}

func (c *contexts) remove(name string) {
	c.Contexts = slices.DeleteFunc(c.Contexts, func(s savedContext) bool { return s.Name == name })
	if c.Current == name {
		c.Current = ""
	}
}

func (c *contexts) names() []string {
	var out []string
	for _, s := range c.Contexts {
		out = append(out, s.Name)
	}
	return out
}
