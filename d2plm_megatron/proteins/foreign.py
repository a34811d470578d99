"""Files that hold no FASTA: what they are by their first bytes, and what to do with them, in a sentence."""

import re

_CONVERT = "convert it by Bio.SeqIO.convert(IN, {name!r}, OUT, 'fasta') of Biopython"
_KINDS = (
    (rb"LOCUS\s", "GenBank or GenPept", _CONVERT.format(name="genbank")),
    (
        rb"ID   .*(?:Reviewed|Unreviewed|AA)[;.]",
        "UniProt's text format",
        "download it as FASTA, or " + _CONVERT.format(name="swiss"),
    ),
    (rb"ID   ", "EMBL", _CONVERT.format(name="embl")),
    (rb"@[^\n]*\n[^\n]+\n\+", "FASTQ, reads of nucleotides", "translate them to proteins first, and give FASTA"),
    (
        rb"(?:CLUSTAL|MUSCLE|PROBCONS)",
        "a Clustal alignment",
        _CONVERT.format(name="clustal") + ", then read it with --gaps remove",
    ),
    (rb"#NEXUS", "a Nexus alignment", _CONVERT.format(name="nexus") + ", then read it with --gaps remove"),
    (
        rb"\s*\d+ +\d+\s*\n",
        "a PHYLIP alignment",
        _CONVERT.format(name="phylip-relaxed") + ", then read it with --gaps remove",
    ),
    (rb"# STOCKHOLM", "a Stockholm alignment", "d2plm data fasta-to-lmdb reads it, with --gaps remove"),
    (
        rb"(?:HEADER|ATOM  |CRYST1|MODEL )",
        "a PDB structure",
        "give its sequence as FASTA: Bio.SeqIO.convert(IN, 'pdb-seqres', OUT, 'fasta')",
    ),
    (
        rb"data_|loop_",
        "an mmCIF structure",
        "give its sequence as FASTA: Bio.SeqIO.convert(IN, 'cif-seqres', OUT, 'fasta')",
    ),
    (rb"##gff", "GFF, places on a genome", "give the proteins as FASTA"),
    (
        rb"(?i)<(?:\?xml|!doctype|html)",
        "XML or HTML, perhaps a web page saved in place of the file",
        "download the FASTA itself",
    ),
    (rb"[\[{]", "JSON", "write the sequences as FASTA, or as CSV with a column 'sequence'"),
    (rb"PAR1", "Parquet", "write it as CSV: pandas.read_parquet(IN).to_csv(OUT), and read that"),
    (rb"ARROW1|FEA1", "Arrow or Feather", "write it as CSV: pandas.read_feather(IN).to_csv(OUT), and read that"),
    (rb"%PDF|%!PS", "PDF or PostScript", "there are no sequences in it that can be read; give FASTA"),
    (rb"\x89HDF", "HDF5", "write the sequences as FASTA, or as CSV with a column 'sequence'"),
    (rb"SQLite format 3", "an SQLite database", "write the sequences as CSV with a column 'sequence'"),
    (rb"PK\x03\x04", "a zip archive or an Office file", "unpack it, or save the sheet as CSV"),
    (rb"\x80[\x02-\x05]", "a pickle", "it can run code, and is not read; write the sequences as FASTA"),
    (rb"\x93NUMPY", "an array of numpy", "write the sequences as FASTA"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture", "give FASTA"),
    (rb"7z\xbc\xaf|Rar!", "a 7z or rar archive", "unpack it, and give the file"),
    (rb"\xd0\xcf\x11\xe0", "an old Office file", "save the sheet as CSV"),
)
_PRINTS = re.compile(r"[^\x00-\x08\x0e-\x1f\x7f\ufffd]*")
_MOST_SHOWN = 40


def describe(start: bytes, head: bytes) -> str:
    """What a file is, and what to do; of what is no text nothing is repeated.

    Args:
        start: its first bytes.
        head: likewise, without empty lines and comments.
    """
    for magic, name, advice in _KINDS:
        if re.match(magic, start) or re.match(magic, head):
            return f"this is {name}, not FASTA; {advice}"
    first = head.strip().split(b"\n")[0][:_MOST_SHOWN].decode("utf-8", "ignore")
    if not _PRINTS.fullmatch(head.decode("utf-8", "replace").removesuffix("\ufffd")):
        return "this is no text, and none of the formats known here; give FASTA"
    return f"{first!r} comes before the first '>' header; is it FASTA? A table must be named .csv or .tsv"
