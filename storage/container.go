package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/storagestore"
)

// ContainerInfo is what is known of a container.
type ContainerInfo struct {
	Name     string
	ETag     string // not quoted
	Modified time.Time
	Metadata map[string]string
	Declared bool // by the resource
}

func infoOf(c storagestore.Container) ContainerInfo {
	return ContainerInfo{c.Name, c.ETag, c.Modified, c.Metadata, c.Declared}
}

// declare makes what the resource has and notes what it does not have any more.
func (a *Account) declare(ctx context.Context, wanted []string) error {
	return a.server.store.Write(ctx, func(tx *storagestore.Tx) error {
		all, err := tx.Containers(a.id, "", "", MaxContainers+1)
		if err != nil {
			return err
		}
		var errs []error
		for _, c := range all {
			i := slices.Index(wanted, c.Name)
			if i >= 0 {
				wanted = slices.Delete(slices.Clone(wanted), i, i+1)
			}
			if c.Declared != (i >= 0) {
				c.Declared = i >= 0
				errs = append(errs, tx.PutContainer(a.id, c))
			}
		}
		for _, name := range wanted {
			if err := resource.ValidateContainer(name); err != nil {
				errs = append(errs, err)
				continue
			}
			errs = append(errs, tx.PutContainer(a.id, a.newContainer(name, nil, true)))
		}
		return errors.Join(errs...)
	})
}

func (a *Account) newContainer(name string, metadata map[string]string, declared bool) storagestore.Container {
	return storagestore.Container{Name: name, Incarnation: rand.Text(), ETag: newETag(), Modified: a.server.clock.Now(), Metadata: metadata, Declared: declared}
}

// CreateContainer makes a container. Conflict when it is there.
func (a *Account) CreateContainer(ctx context.Context, name string, metadata map[string]string) (ContainerInfo, error) {
	op := "storage.CreateContainer"
	if err := resource.ValidateContainer(name); err != nil {
		return ContainerInfo{}, fault.Newf(op, fault.Invalid, "%s", fault.Message(err)).Advise("%s", fault.Next(err)).Because(InvalidName)
	}
	if err := checkMetadata(metadata); err != nil {
		return ContainerInfo{}, err
	}
	c := a.newContainer(name, metadata, false)
	err := a.server.store.Together(ctx, func(tx *storagestore.Tx) error {
		if _, had, err := tx.Container(a.id, name); err != nil {
			return err
		} else if had {
			return fault.Newf(op, fault.Conflict, "there is a container %s already", name).Because(ContainerAlreadyExists)
		}
		all, err := tx.Containers(a.id, "", "", MaxContainers)
		if err != nil {
			return err
		}
		if len(all) >= MaxContainers {
			return fault.Newf(op, fault.Exhausted, "the account has %d containers, which is all there can be", len(all)).Advise("delete one that nobody uses")
		}
		return tx.PutContainer(a.id, c)
	})
	if err == nil {
		a.server.log.Info("storage: container created", "account", a.Name(), "container", name)
	}
	return infoOf(c), err
}

// Container returns a container. NotFound.
func (a *Account) Container(ctx context.Context, name string) (ContainerInfo, error) {
	c, err := a.container(ctx, "storage.Container", name)
	return infoOf(c), err
}

func (a *Account) container(ctx context.Context, op, name string) (storagestore.Container, error) {
	if !wide(name) {
		return storagestore.Container{}, noContainer(op, name)
	}
	return a.containerIn(a.server.store.Reading(ctx), op, name)
}

func (a *Account) containerIn(tx *storagestore.Tx, op, name string) (storagestore.Container, error) {
	c, ok, err := tx.Container(a.id, name)
	if err == nil && !ok {
		err = noContainer(op, name)
	}
	return c, err
}

// SetContainerMetadata replaces a container's metadata.
func (a *Account) SetContainerMetadata(ctx context.Context, name string, metadata map[string]string, cond Condition) (ContainerInfo, error) {
	op := "storage.SetContainerMetadata"
	if err := checkMetadata(metadata); err != nil {
		return ContainerInfo{}, err
	}
	var out ContainerInfo
	err := a.changeContainer(ctx, op, name, cond, func(tx *storagestore.Tx, c storagestore.Container) error {
		c.Metadata, c.ETag, c.Modified = maps.Clone(metadata), newETag(), a.server.clock.Now()
		out = infoOf(c)
		return tx.PutContainer(a.id, c)
	})
	return out, err
}

func (a *Account) changeContainer(ctx context.Context, op, name string, cond Condition, change func(*storagestore.Tx, storagestore.Container) error) error {
	if !wide(name) {
		return noContainer(op, name)
	}
	return a.server.store.Together(ctx, func(tx *storagestore.Tx) error {
		c, err := a.containerIn(tx, op, name)
		if err != nil {
			return err
		}
		if err := cond.forChange(op, c.ETag, c.Modified, true); err != nil {
			return err
		}
		return change(tx, c)
	})
}

// DeleteContainer removes a container with all its blobs. Conflict for one that the resource declares.
func (a *Account) DeleteContainer(ctx context.Context, name string, cond Condition, by string) error {
	op := "storage.DeleteContainer"
	var blobs, bytes int64
	err := a.changeContainer(ctx, op, name, cond, func(tx *storagestore.Tx, c storagestore.Container) (err error) {
		if c.Declared {
			return fault.Newf(op, fault.Conflict, "the container %s is declared by the resource of the service", name).Advise("change spec.containers of the service instead")
		}
		blobs, bytes, err = tx.DeleteContainer(a.id, name, a.server.clock.Now())
		return err
	})
	if err == nil {
		a.blobs.Add(-blobs)
		a.bytes.Add(-bytes)
		a.server.log.Info("storage: container deleted", "account", a.Name(), "container", name, "blobs", blobs, "by", by)
	}
	return err
}

// ContainerPage is a part of a list of containers.
type ContainerPage struct {
	Containers []ContainerInfo
	Next       string // marker of the next page; empty: there is none
}

// Containers lists containers by name, up to limit (0: MaxPage).
func (a *Account) Containers(ctx context.Context, prefix, marker string, limit int) (ContainerPage, error) {
	from, limit, err := begin(marker, limit)
	if err != nil || !wide(prefix) {
		return ContainerPage{}, err
	}
	rows, err := a.server.store.Reading(ctx).Containers(a.id, prefix, from, limit+1)
	if err != nil {
		return ContainerPage{}, err
	}
	var out ContainerPage
	for i, c := range rows {
		if i == limit {
			out.Next = markerOf(c.Name)
			break
		}
		out.Containers = append(out.Containers, infoOf(c))
	}
	return out, nil
}
