"""Person names as a hospital has them: several scripts, a few common names and a long tail of rare ones."""

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

_TAIL = 20  # one family name in so many is met nowhere else: misspelt, or from far away


@dataclass(frozen=True)
class _Syllables:
    """What names of a script are made of: first syllables, those that follow, and endings."""

    first: Sequence[str]
    second: Sequence[str]
    last: Sequence[str]

    def name(self, number: int) -> str:
        """The name of this number; a bijection as far as the syllables reach, and longer names beyond."""
        number, last = divmod(number, len(self.last))
        beyond, first = divmod(number, len(self.first))
        middle = ""
        while beyond:
            beyond, index = divmod(beyond - 1, len(self.second))
            middle += self.second[index]
        return (self.first[first] + middle + self.last[last]).capitalize()


@dataclass(frozen=True)
class _Script:
    share: int  # of a hundred patients
    family: _Syllables
    given: _Syllables
    families: Sequence[str]
    givens: Sequence[str]
    number_of_families: int
    number_of_givens: int
    ideographic: tuple[Sequence[str], Sequence[str]] | None = None  # family and given names beside the alphabetic


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_GERMANIC = _Script(
    38,
    _Syllables(
        _words(
            "ba be bir bö bran bre bru büh dah dei dor eck eh en er fal fei fis för frie gär ger gro grü ha har hei hö "
            "jäg kai kel kir kle kö kra krü lan leh lin lö mau mei mö nie ol os pfei rei rie rö ru schä schnei schrö "
            "schu sie stei sto tho ul vo wag wal we wie wol zim"
        ),
        _words("ber der ding fel gel hau ker len mer nen per ring schel stel tin wen"),
        _words(
            "ach bach bauer berg born dorf er feld hagen haus hof horst huber ing ke kamp ler mann meier ner sen stein "
        ),
    ),
    _Syllables(
        _words(
            "al an ber chris da el fe frie ger han hei il jo ka ki lau le lu ma mi ni pau ro sa si ste to ul va wil"
        ),
        _words("di fri har ka li mi na ra ri ta"),
        _words("a as e el er ia ian ina in kus le lia ne nik o ra rich ta us"),
    ),
    _words("Müller Schmidt Schneider Röntgen Ångström Smith Jones Brown Taylor Wilson O'Brien Øst Müllner Fernström"),
    _words("Anna Björn Marie Thomas Peter Sara Jürgen Søren Ilse Zoë Sophie Paul Jack Emily"),
    3000,
    600,
)
_ROMANCE = _Script(
    17,
    _Syllables(
        _words(
            "al bar ben bo ca cas cor cos da del du es fer fon gar gon gui her la lo mar men mo mu na or pe ra ri ro "
            "sal san sou te tor val vi zam"
        ),
        _words("ba ca da go la ma na ra ro ta ti va"),
        _words("ães ano ão ard ari ato eau ella elli era ès ez ier iez ini o oni ós ot ucci uet"),
    ),
    _Syllables(
        _words("a ale an be ca cla da e fe fran gio i jo ju lu ma mi ni o pa ra ro sa so vi"),
        _words("bi co da le li ma na ri te to"),
        _words("a é ette ía iana ina ín io ique o ó oise olas ora ués"),
    ),
    _words("García Fernández Rossi Lefèvre Guimarães Muñoz Dubois Conceição"),
    _words("José Jean Lucía François Renée Nicolò Agnès Chloé Inês"),
    1500,
    350,
)
_SLAVIC = _Script(
    14,
    _Syllables(
        _words(
            "ba bo čer dvo dob fi ha hlav ho ja je ko kra ku le łu ma no ol pa pe po pro ro ry se sko sta šim to ve wy "
            "za zie żu"
        ),
        _words("bi cha do ka le lo ma ni ro ře sla ta ti va"),
        _words("ák cki czyk ec ek ič ik ik ka ko ová ov ský ska uk ál ček ić"),
    ),
    _Syllables(
        _words("a bo da do e ja ji ka ku le lu ma mi ni o pa pe ra sta to va vě"),
        _words("bo da li mi ro sla to"),
        _words("a ek ena eta ia il ín ka mír na ša slav ta uš"),
    ),
    _words("Novák Kowalski Dvořák Čapek Łukasik"),
    _words("Olga Jiří Małgorzata Márton"),
    1200,
    200,
)
_CYRILLIC = _Script(
    8,
    _Syllables(
        _words(
            "ав ан бе бо ва во га го да до е жу за и ка ки ко ку ла ле ма ми ни но ор па пе по ро ру се си со та ти ша"
        ),
        _words("ба ва до ка ла ли ма на ри ро та ти"),
        _words("енко ев ёв ин ский ов ова ева ина чук ко ян"),
    ),
    _Syllables(
        _words("а бо ва ви га да е и ка ла ма ми на ни о па сер та ю"),
        _words("ди ле ми на ри та"),
        _words("а ей ий ил ина ия на р слав та ь"),
    ),
    _words("Иванов Петров Шевченко"),
    _words("Иван Мария Елена"),
    800,
    120,
)
_GREEK = _Script(
    2,
    _Syllables(
        _words("αθα αντω βα γε γιαν δη ευ ζα θε ιω κα κο λα μα μι νι οι πα πε ρο σα στα τσα φι χα χρι"),
        _words("γι δο κα λο μα νι πο ρα"),
        _words("άκης άς ίδης ίου όπουλος ούλης ού της"),
    ),
    _Syllables(_words("α βα γε δη ε ιω κα μα νι πα σο στα"), _words("λε νι ρι"), _words("α ης ία ιος ος ούλα")),
    _words("Παπαδόπουλος"),
    _words("Νίκος"),
    200,
    40,
)
_TURKISH = _Script(
    4,
    _Syllables(
        _words("ak al ars ay ba ce ça de er gü ka kı ko öz sa şa ta tü ul yı yü"),
        _words("da ka la ma ra su"),
        _words("bey can dağ demir doğan er han kaya lar lı man oğlu taş türk"),
    ),
    _Syllables(
        _words("a ay be ce e fa ha i ke me mu ne o se ya zey"), _words("di li me ri"), _words("an in let man şe t ül")
    ),
    _words("Yılmaz Özdemir"),
    _words("Ayşe"),
    250,
    60,
)
_VIETNAMESE = _Script(
    3,
    _Syllables(
        _words("bù đặ đỗ hồ hoà hu lê lý ng nguy ph phạ tr trầ võ vũ"), _words("a ê i o ư"), _words("n nh ng m ch")
    ),
    _Syllables(
        _words("a b ch d đ h kh l m ng nh ph qu th tr v"), _words("a i o u"), _words("anh ảo ích ung ương ân ế inh")
    ),
    _words("Nguyễn Trần Lê"),
    _words("Anh Hương"),
    60,
    80,
)
_ARABIC = _Script(
    4,
    _Syllables(
        _words("ا ب ج ح خ د ر ز س ش ص ع غ ف ق ك م ن و ي"),
        _words("ا س ر م ن ل"),
        _words("اد امي ان اني حسن دي ري ني يد"),
    ),
    _Syllables(_words("ا ج ح خ س ع ف ك م ن ي"), _words("ا م ل"), _words("ا د لي مد ن يم")),
    _words("حسن"),
    _words("محمد"),
    250,
    50,
)
_HEBREW = _Script(
    1,
    _Syllables(_words("א ב ג ד ה ז ח י כ ל מ נ ס פ ר ש"), _words("ו י ר ל"), _words("הן וביץ ון וי י יץ מן רג")),
    _Syllables(_words("א ד י מ נ ר ש"), _words("ו י"), _words("ה ל ן ת")),
    _words("כהן לוי"),
    _words("דוד"),
    80,
    20,
)
_JAPANESE = _Script(
    4,
    _Syllables(
        _words(
            "a fuji hashi ike ishi ka ko ku ma matsu miya mo mura na naka no o saka sai shi su taka ta uchi ya yoshi"
        ),
        _words("ba ki ma no ri sa ta"),
        _words("da gawa hara kawa moto mura no saki shima shita ta yama zawa"),
    ),
    _Syllables(
        _words("a e ha hi ka ke ma mi na sa sho ta yu"), _words("ka na ri"), _words("ichi ka ki ko mi ro ta to")
    ),
    ("Yamada", "Sato"),
    ("Tarou", "Hanako"),
    300,
    80,
    (
        _words("山田 佐藤 鈴木 高橋 田中 伊藤 渡辺 中村 小林 加藤 吉田 山本 松本 井上 木村"),
        _words("太郎 花子 一郎 美咲 健 翔太 陽子"),
    ),
)
_CHINESE = _Script(
    5,
    _Syllables(
        _words("b ch d f g h l m q s t w x y z zh"), _words("ia ua ou ei"), _words("an ang ao en eng i in iu ou u uo")
    ),
    _Syllables(
        _words(
            "bin chun dong fang guo hai hong hui jia jian jun lei li mei ming na ping qiang wei xiao xin yan ying yu"
        ),
        _words("dan hua jie"),
        _words("bo hong hua jun li lin mei yan"),
    ),
    ("Wang", "Li", "Zhang"),
    ("Wei", "Fang"),
    120,
    180,
    (_words("王 李 张 刘 陈 杨 黄 赵 吴 周"), _words("伟 芳 娜 秀英 敏 静 丽 强 磊 小东")),
)
_SCRIPTS = (
    _GERMANIC, _ROMANCE, _SLAVIC, _CYRILLIC, _GREEK, _TURKISH, _VIETNAMESE, _ARABIC, _HEBREW, _JAPANESE, _CHINESE,
)  # fmt: skip


class _Zipf:
    """Names by rank, the first the most frequent: as many bearers as 1 / (rank + flattening)."""

    def __init__(self, names: Sequence[str], flattening: float) -> None:
        self.names = names
        self._weights = list(accumulate(1 / (rank + flattening) for rank in range(len(names))))

    def choose(self, chance: random.Random) -> str:
        return self.names[bisect(self._weights, chance.random() * self._weights[-1], 0, len(self.names) - 1)]


class _Pool:
    def __init__(self, script: _Script) -> None:
        self.script = script
        self.families = _Zipf(_made(script.families, script.family, script.number_of_families), 12)
        self.givens = _Zipf(_made(script.givens, script.given, script.number_of_givens), 8)


def _made(real: Sequence[str], syllables: _Syllables, number: int) -> tuple[str, ...]:
    # in steps that share no factor with anything, so that neighbours in rank are no neighbours in the alphabet
    made = (syllables.name(index * 7919 % (number * 3)) for index in range(number))
    return tuple(dict.fromkeys((*real, *made)))


_POOLS = tuple(_Pool(script) for script in _SCRIPTS)
_SHARES = list(accumulate(script.share for script in _SCRIPTS))


def person_name(chance: random.Random) -> str:
    """A Person Name (PS3.5 6.2): its alphabetic group in any script, some with an ideographic group."""
    pool = _POOLS[bisect(_SHARES, chance.random() * _SHARES[-1], 0, len(_POOLS) - 1)]
    family = pool.families.choose(chance)
    if chance.randrange(_TAIL) == 0:
        family = pool.script.family.name(chance.randrange(10**7))
    if chance.randrange(40) == 0:
        family += "-" + pool.families.choose(chance)
    given = pool.givens.choose(chance)
    if chance.randrange(4) == 0:
        given += " " + pool.givens.choose(chance)
    name = f"{family}^{given}"
    if pool.script.ideographic is not None:
        families, givens = pool.script.ideographic
        name += f"={chance.choice(families)}^{chance.choice(givens)}"
    return name
