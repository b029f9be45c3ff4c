package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

// describeZone tells where a zone is answered, and what it answers.
func describeZone(ctx context.Context, w *world, s *session, z *resource.Zone) (next []string) {
	redirects := ""
	for _, l := range z.Linked() {
		if l.ResolutionPolicy == resource.NxDomainRedirect {
			redirects = "in networks with redirect, the public DNS is asked for names it does not have; in others these do not exist"
		}
	}
	w.pairs(
		[2]string{"Networks", first(strings.ReplaceAll(zoneNetworks(z), ",", ", "), "none: nobody is answered from it")},
		[2]string{"Other names", redirects},
		[2]string{"Record sets", strconv.Itoa(z.Status.RecordSets)},
	)
	if len(z.Linked()) == 0 {
		next = append(next, "link it: add the networks that shall use it to spec.networks")
	}
	list, err := s.List(ctx, resource.KindRecordSet, client.Filter{Tenant: z.Metadata.Tenant, Scope: z.Metadata.Name})
	if err != nil {
		return next // what may not be listed is not described
	}
	if len(list) == 0 {
		return append(next, "bring records along:  isthmus dns import FILE --zone "+z.Key().Path())
	}
	slices.SortFunc(list, func(a, b resource.Object) int { return strings.Compare(a.Head().Metadata.Name, b.Head().Metadata.Name) })
	w.printf("\nRecord sets:\n")
	var rows [][]cell
	example := ""
	for _, o := range list {
		r, ok := o.(*resource.RecordSet)
		if !ok {
			continue
		}
		if len(rows) < shownRules {
			rows = append(rows, cells(r.Metadata.Name, strconv.Itoa(int(recordTTL(r))), recordValues(r.Spec), recordMaker(r)))
		}
		if example == "" && len(r.Spec.A) > 0 && !strings.ContainsAny(r.Metadata.Name, "@*") {
			example = r.Metadata.Name + "." + z.Metadata.Name
		}
	}
	w.table([]string{"NAME", "TTL", "VALUES", "MADE BY"}, rows)
	if more := len(list) - len(rows); more > 0 {
		w.printf("… and %d more; see all with: isthmus get recordsets --tenant %s --zone %s\n", more, z.Metadata.Tenant, z.Metadata.Name)
	}
	if links := z.Linked(); example != "" && len(links) > 0 {
		next = append(next, "see what becomes of a name:", "  isthmus dns why "+example+" --from "+z.Metadata.Tenant+"/"+links[0].Network)
	}
	return next
}
