package report

import (
	"fmt"
	"math"
	"strings"
)

// canvas is an SVG drawing with one plot in it. It has a ground of its own, so that it reads the same on a dark page.
type canvas struct {
	strings.Builder
	width, height            float64
	left, right, top, bottom float64 // margins of the plot
}

// colours are told apart also by those who see fewer of them; the broker's comes first.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"}

func newCanvas(title string, height float64) *canvas {
	c := &canvas{width: 760, height: height, left: 70, right: 170, top: 50, bottom: 50}
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="system-ui, sans-serif" font-size="12">`+"\n",
		c.width, c.height)
	fmt.Fprintf(c, `<title>%s</title>`+"\n"+`<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n", title)
	c.text(20, 26, heading, title)
	return c
}

func (c *canvas) end() string {
	c.WriteString("</svg>\n")
	return c.String()
}

// Styles of text.
const (
	heading = `fill="#222222" font-size="15" font-weight="600"`
	strong  = `fill="#222222" font-weight="600"`
	plain   = `fill="#222222"`
	centred = `fill="#222222" text-anchor="middle"`
	before  = `fill="#222222" text-anchor="end"`
	onX     = `fill="#555555" text-anchor="middle"`
	onY     = `fill="#555555" text-anchor="end"`
)

func (c *canvas) text(x, y float64, style, text string) {
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, style, text)
}

func (c *canvas) line(from, to point, stroke string) {
	fmt.Fprintf(c, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", from.x, from.y, to.x, to.y, stroke)
}

// axis maps values to a side of the plot.
type axis struct {
	title    string
	ticks    []float64
	label    func(float64) string
	scale    func(float64) float64 // nil: as it is
	from, to float64               // on the canvas
}

func (a *axis) at(v float64) float64 {
	scale := a.scale
	if scale == nil {
		scale = func(v float64) float64 { return v }
	}
	low, high := scale(a.ticks[0]), scale(a.ticks[len(a.ticks)-1])
	return a.from + (scale(v)-low)/(high-low)*(a.to-a.from)
}

func (c *canvas) axes(x, y *axis) {
	x.from, x.to = c.left, c.width-c.right
	y.from, y.to = c.height-c.bottom, c.top
	for _, v := range y.ticks {
		c.line(point{x.from, y.at(v)}, point{x.to, y.at(v)}, "#e3e3e3")
		c.text(x.from-8, y.at(v)+4, onY, y.label(v))
	}
	for _, v := range x.ticks {
		c.line(point{x.at(v), y.from}, point{x.at(v), y.from + 4}, "#888888")
		c.text(x.at(v), y.from+18, onX, x.label(v))
	}
	c.line(point{x.from, y.from}, point{x.to, y.from}, "#888888")
	c.text((x.from+x.to)/2, c.height-10, centred, x.title)
	c.text(20, 42, plain, y.title)
}

type point struct{ x, y float64 }

type series struct {
	name   string
	points []point
}

// lines draws each series with its name at its end.
func (c *canvas) lines(x, y *axis, all []series) {
	c.axes(x, y)
	var names []float64
	for i, s := range all {
		colour := colours[i%len(colours)]
		var path strings.Builder
		for n, p := range s.points {
			command := "L"
			if n == 0 {
				command = "M"
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", command, x.at(p.x), y.at(p.y))
			fmt.Fprintf(c, `<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>`+"\n", x.at(p.x), y.at(p.y), colour)
		}
		fmt.Fprintf(c, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", &path, colour)
		last := s.points[len(s.points)-1]
		at := apart(y.at(last.y), names)
		names = append(names, at)
		c.text(x.at(last.x)+8, at+4, fmt.Sprintf(`fill="%s"`, colour), s.name)
	}
}

// apart moves a name away from those that are there.
func apart(y float64, taken []float64) float64 {
	const least = 14
	for _, other := range taken {
		if math.Abs(y-other) < least {
			return apart(other-least, taken)
		}
	}
	return y
}

// bar is a median and its range.
type bar struct {
	name           string
	low, mid, high float64
	ours           bool
}

// bars draws one group of them from the height y on, and answers where it ends.
func (c *canvas) bars(y float64, title string, all []bar, x *axis) float64 {
	const height, gap = 18, 6
	x.from, x.to = c.left, c.width-c.right
	c.text(20, y+12, strong, title)
	y += 22
	for _, b := range all {
		colour := "#9aa5ad"
		if b.ours {
			colour = colours[0]
		}
		c.text(c.left-8, y+13, before, b.name)
		fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n", x.from, y, x.at(b.mid)-x.from, height, colour)
		c.line(point{x.at(b.low), y + height/2}, point{x.at(b.high), y + height/2}, "#222222")
		c.text(x.at(max(b.high, b.mid))+8, y+13, plain, Number(b.mid))
		y += height + gap
	}
	return y + 14
}

// steps are round numbers from 0 to beyond v, not many.
func steps(v float64) []float64 {
	size := math.Pow(10, math.Floor(math.Log10(v)))
	for _, part := range []float64{0.2, 0.5, 1, 2} {
		if v/(size*part) <= 6 {
			size *= part
			break
		}
	}
	ticks := []float64{0}
	for last := 0.0; last < v; {
		last = float64(len(ticks)) * size
		ticks = append(ticks, last)
	}
	return ticks
}
