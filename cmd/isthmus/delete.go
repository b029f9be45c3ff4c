package main

import (
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func newDelete(w *world) *cobra.Command {
	var (
		files  []string
		reason string
		tenant string
		absent bool
	)
	c := &cobra.Command{
		Use:   "delete KIND NAME... --reason WHY | delete -f FILE --reason WHY",
		Short: "Remove resources",
		Long: `Remove resources by name, or those that manifests name, in the order in which nothing is missed: endpoints first, tenants last. The reason stands in
the audit record. Deleting an endpoint cuts its open flows.`,
		Example: `  isthmus delete endpoint ot/plant-7/hub --reason "line 3 was sold"
  isthmus delete -f plant-7.yaml --reason "the site is closed"`,
	}
	n := addConnection(w, c)
	addFiles(c, &files)
	c.Flags().StringVar(&reason, "reason", "", "`WHY`; stands in the audit record (required)")
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of names that leave it out")
	c.Flags().BoolVar(&absent, "ignore-not-found", false, "what is not there is fine")
	c.ValidArgsFunction = completeNames(n)
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(files) == 0 && len(args) == 0:
			return usagef("what to delete is missing").advise("name a kind and a resource, or manifests with -f")
		case len(files) > 0 && len(args) > 0:
			return usagef("names and -f were given together").advise("use one or the other")
		case reason == "":
			return usagef("--reason is missing").advise("say why, for whoever reads the audit log later")
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		keys, err := deletionKeys(w, files, args, first(tenant, s.tenant))
		if err != nil {
			return err
		}
		for _, key := range keys {
			done := s.wait()
			err := s.Delete(c.Context(), key, reason)
			done()
			switch {
			case absent && fault.KindOf(err) == fault.NotFound:
				w.printf("%s %s is not there\n", singular(key.Kind), key.Path())
			case err != nil:
				return err
			default:
				w.printf("%s %s deleted\n", singular(key.Kind), key.Path())
			}
		}
		return nil
	}
	return c
}

func deletionKeys(w *world, files, args []string, tenant string) ([]resource.Key, error) {
	var keys []resource.Key
	if len(files) > 0 {
		set, err := loadManifests(w, files)
		if err != nil {
			return nil, err
		}
		objects := set.Objects()
		for i := len(objects) - 1; i >= 0; i-- {
			keys = append(keys, objects[i].Head().Key())
		}
		return keys, nil
	}
	word, names := splitKind(args)
	k, err := findKind(word)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, usagef("the name is missing").advise("isthmus delete %s %s --reason WHY", word, shape(k.kind))
	}
	for _, name := range names {
		key, err := parseName(k.kind, name, tenant)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
