package blob

import (
	"context"
	"io"

	"github.com/isthmus-io/isthmus/fault"
)

// Part is a piece of a blob that is put together.
type Part struct {
	Block  string // id of a block that waits; empty for a run of a blob that is there
	From   Ref
	Offset int64
	Size   int64 // of the run; a block is taken whole
}

// Assemble makes a blob of parts in the order of the list. What waits for the upload goes on waiting, until Forget. NotFound when a part is
// not there, TooLarge when they are too much together.
func (s *Store) Assemble(ctx context.Context, u Upload, to Ref, p Properties, list []Part) (Info, error) {
	op := "blob.Assemble"
	at, err := to.parts()
	if err != nil {
		return Info{}, err
	}
	total := int64(0)
	for _, part := range list {
		size := part.Size
		if part.Block != "" {
			b, err := s.openBlock(u, part.Block)
			if err != nil {
				return Info{}, err
			}
			size = b.size
			_ = b.file.Close() // it was only looked at
		}
		if total += size; total > s.cfg.MaxBlob {
			return Info{}, s.tooLarge(op)
		}
	}
	release, err := s.roomForBlob(op, total)
	if err != nil {
		return Info{}, err
	}
	defer release()
	return s.keeper.write(ctx, at, p, func(w io.Writer) error {
		for _, part := range list {
			if part.Block != "" {
				err = s.append(ctx, w, u, part.Block)
			} else {
				err = s.appendRun(ctx, w, part)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) appendRun(ctx context.Context, w io.Writer, part Part) error {
	at, err := part.From.parts()
	if err != nil {
		return err
	}
	r, err := s.keeper.read(ctx, at, part.Offset, part.Size)
	if err != nil {
		return fault.Wrap("blob.Assemble", fault.Internal, err, "")
	}
	defer r.Close()
	return copyN(ctx, w, r, part.Size)
}

// Spare refuses what would take of the disk what is left alone. It is for those who write beside the store.
func (s *Store) Spare(bytes int64) error {
	release, err := s.room("blob.Spare", bytes)
	if err == nil {
		release()
	}
	return err
}

// Known tells whether anything waits, or may wait, for an upload.
func (s *Store) Known(u Upload) bool { return s.number(u) != 0 }
