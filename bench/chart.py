"""A bar chart as SVG: for each case the median of each client, with the range of all runs as a thin line."""

import html

LEFT, WIDTH, ROW, GAP = 190, 560, 22, 34
OURS, PEERS = "#2563eb", "#9ca3af"


def text(x, y, content, anchor="start", weight="normal", size=12):
    return (f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}" '
            f'font-size="{size}">{html.escape(content)}</text>')


def bar(y, client, figures, scale):
    """One client of one case; figures are the median, the least and the most."""
    median, least, most = figures
    middle = y + ROW / 2
    color = OURS if client.startswith("lazypull") else PEERS
    return [
        text(LEFT - 8, middle + 4, client, "end"),
        f'<rect x="{LEFT}" y="{y + 3:.0f}" width="{median * scale:.1f}" height="{ROW - 6}" fill="{color}"/>',
        f'<line x1="{LEFT + least * scale:.1f}" x2="{LEFT + most * scale:.1f}" y1="{middle:.0f}" '
        f'y2="{middle:.0f}" stroke="#111"/>',
        text(LEFT + most * scale + 6, middle + 4, f"{median:.2f} s" if median >= 1 else f"{median * 1000:.0f} ms")]


def svg(title, cases):
    """`cases` maps a case's heading to clients and their figures in seconds. Each case has a scale of its own."""
    parts, y = [text(LEFT, 24, title, weight="bold", size=15)], 40
    for heading, clients in cases.items():
        parts.append(text(LEFT, y + 16, heading, weight="bold"))
        y += 24
        scale = WIDTH / max(most for _, _, most in clients.values())
        for client, figures in clients.items():
            parts += bar(y, client, figures, scale)
            y += ROW
        y += GAP - ROW
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 90}" height="{y + 10}" '
            f'font-family="sans-serif" fill="#111"><rect width="100%" height="100%" fill="#fff"/>'
            + "\n".join(parts) + "</svg>\n")
