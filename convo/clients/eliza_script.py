"""The script of the embedded ELIZA: the rules about the person who is talking, and the form that every rule has.

As in J. Weizenbaum, "ELIZA—A Computer Program For the Study of Natural Language Communication Between Man And
Machine", CACM 9(1), 1966, the engine knows nothing and the script says it all; its sentences are our own. A rule is

    RANK word word ...      its keywords: the rule is looked at only where one of them occurs; @name is a group
      pattern               how the clause must be built; the patterns above one list of answers share it
        answer              said in turn, one each time

The higher rank is tried first; 0 is small change, said only when no earlier statement can be brought up instead. In a
pattern `*` is any words, `+` one or more (a part), `@name` a word of a group (a part), `a|b` either word, `a?` perhaps
that word, `~` up to three such as "very", and `*ing` a word so ending. In an answer {0} is the clause and {1}, {2}, ...
its parts, turned round ("my" is "your") except in quotation marks; one that lacks a part, or is given an overlong
one, is passed over. Several patterns or answers in a line are divided by " / ".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from convo.clients.eliza_words import SMALL_TALK, TOPICS, expanded, listed


@dataclass(frozen=True, slots=True)
class Turn:
    """Ways to take a clause apart, and the answers to put it together again."""

    patterns: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Keywords, how much they matter, and the turns they lead to, in the order they are tried."""

    rank: int
    words: frozenset[str]
    turns: tuple[Turn, ...]


CRISIS: Final = 20
REPETITION: Final = 15  # only a crisis is more urgent than noticing that the same was said twice
CARE_FLOOR: Final = 3  # after a crisis, whatever matters no more than this gives way to asking after the person
BRIEF: Final = 1  # up to here the words carry little: yes, no, laughter; saying them twice is no repetition

FEELINGS: Final = """
20 suicide suicidal kill killing killed die myself kms unalive harm hurt live living life dead end himself herself \
themselves death self-harm self-harming exist alive miss gone born dying ending off here yourself
  * killed himself|herself|themselves|themself * / * committed suicide * / * died by suicide *
    I am so sorry; few losses are harder. I am only a simple program. Is there a person you trust to talk to about it?
    That is terrible, and not your fault. I am just a simple program; a person you trust or a crisis line can do more.
    I am sorry. A simple program is no comfort: please talk to a person you trust, or to a crisis line in dark hours.
  * kill|killing|hurt|hurting|harm|harming|hang|cut|cutting himself|herself|themselves|themself *
  * my ~ @close * suicide|suicidal * / * he|she|they is|are|was|were|has|have ~ suicidal *
    That is a frightening thing to carry. I am only a simple program: please stay close to that person, tell somebody \
you both trust, and call your local emergency number or a crisis line if there is danger.
    I am sorry that you have to worry about this. I am just a simple program, but people can help: a person you trust, \
a crisis line, which also advises those who worry, and in danger your local emergency number. How are you yourself?
    Please do not carry this alone. I am just a simple program; talk to a person you trust, or to a crisis line, and \
call your local emergency number if it is urgent.
  * kill|killing|hurt|hurting|harm|harming|hang|hanging|cut|cutting|shoot|drown|starve|unalive myself|yourself *
  * suicide|suicidal|kms|unalive|self-harm|self-harming * / * self harm|harming * / * i could|should|will just? die
  * feel like dying / * thinking of|about ending it|things * / * i am going to die / * better off dead *
  * want|wanted|wanting|wish|ready|like|rather|hope|hoping|deserve|prefer to? ~ die / * nobody|one would|will miss me *
  * i am going to die today|tonight|now|soon * / * end|ending|ended it all * / * wish|wished i was|were dead|gone *
  * want|wanted|wanting|wish|ready|like|rather|hope|hoping|deserve|prefer to? ~ die \
now|today|tonight|soon|already|so|right|in|and|or|if|any *
  * end|ending|take|taking|ended my own? life * / * better off without me * / * want|rather|like|wish to? be dead *
  * wish|wished i was|were never born * / * worth living * / * wish|wished i had never been born *
  * wish|wished i didn't exist * / * life isn't|not worth * / * don't want to live / * don't want to live|exist|be any *
  * don't want to live|exist like this * / * don't want to be alive|here any * / * don't want to be alive|exist
  * no reason|point to|in|of live|living|life * / * sick|tired of living|life / * tired|sick of being alive *
    I am glad that you told me, and it worries me. I am only a simple program and not the help you deserve: please \
talk to someone you trust right now, or call your local emergency number or a crisis line.
    That sounds very heavy, and you do not have to carry it alone. I am just a simple program; a person can do what I \
cannot. Please reach out to somebody you trust, to a crisis line, or to your local emergency number now.
    Please take this as seriously as it is. I am just a simple program, so go to a person you trust: a friend, a \
relative, a doctor, or a crisis line. If you might act on it, call your local emergency number at once.
    You matter, even if it does not feel so now. I am a simple program and can only ask: is there somebody you trust \
whom you can call or go to at once? If not, a crisis line or your local emergency number will answer.
13 hits hit beats beat abuses abused abusing threatens threatened raped bullied bully bullying
  * he|she|they|@family|@relatives hits|hit|beats|beat|abuses|abused|threatens|threatened|raped me *
  * i am|was|get|got|being|been ~ hit|beaten|abused|threatened|raped|bullied * / * bully|bullying|bullied *
    I am sorry. Nobody has the right to treat you like that. Is there a person you trust whom you can tell?
    That should not happen to you. I am only a program, so please tell someone who can do something. Who might that be?
    It is not your fault. Are you safe where you are now?
12 died dead dying death funeral grief grieving mourning buried passed lost gone cremated
  * my ~ phone|battery|laptop|computer|car|plant|plants|tv ~ is? ~ died|dead|dying *
    May it rest. What did you need it for just now? / What did you do when it happened? / What will you do without it?
  * my ~ @close is|was ~ dying *
    I am sorry. What would you still like to do or say, while there is time to be with your {1}?
    That is very hard to watch. Who is there for you while you are there for your {1}?
    How are the days now, for you and for your {1}?
  * my ~ @close has|just|is|had|recently|suddenly|and? ~ died|passed|dead|gone * / * my ~ @close died|passed *
  * i lost my ~ @close * / * funeral|death of my ~ @close *
    I am so sorry. Would you like to tell me about your {1}?
    That is a great loss. Which memory of your {1} comes back to you most?
    Grief keeps its own time. How do you get through the days without your {1}?
    What would you say to your {1}, if you could say one more thing?
  * died|dead|dying|death|funeral|grief|grieving|mourning|buried *
    Death is a hard thing to speak about. Who is on your mind? / Is there somebody whom you have lost?
    That is a heavy subject. What do you feel when you think of it? / Take your time with this. What happened?
10 dream dreamed dreamt dreams nightmare nightmares
  * i ~ dreamed|dreamt of|about + / * i ~ had a ~ dream|nightmare of|about + / * i ~ dream of|about +
    What were you yourself doing in that dream about {1}? / And what did you feel when you woke from {1}?
    If the dream about {1} was a letter to you, what did it want to say?
  *
    What happens in your dreams? / Which of your dreams would you like to have again? / Who else appears in your dreams?
9 because
  * because of +
    Is it only because of {1}? / Without {1}, what would be different? / What have you done about {1}?
  * because +
    How is it for you that {1}? / Is it really because {1}, or is there more to it? / Who else knows that {1}?
    Since when do you have the impression that {1}? / What would have to happen so that you no longer say that {1}?
  *
    That is half a reason. What is the other half? / What would be your second reason? / Go on, because of what?
8 broke breakup ex divorce divorced left dumped cheated cheating separated
  * broke|broken|breaking up * / * left|dumped|cheated|leaving me|on * / * divorce|divorced|separated|breakup *
  * my ex *
    That must have hurt. How did it end? / When did you first sense that something was wrong? / Who stands by you now?
    What do you miss, and what do you not miss at all?
8 @ill hurts aches ache hurt hospital @disease @body
  * sick of +
    Since when have you had enough of {1}? / What is the worst of it? / What would you do without {1}?
  * my ~ @close is|was|has|had|feels|got|fell|been ~ @ill *
    I am sorry that your {1} is {2}. How are you coping with it? / That must worry you. Who looks after your {1}?
    What do you fear most, with your {1} being {2}? / Does your {1} know how much you think about it?
  * my ~ @close has|had|got|gets|suffers from? ~ @disease *
    I am sorry about your {1}. What has changed for you since then? / How does your {1} bear it, and how do you?
    Who helps your {1}, and who helps you?
  * i am|feel|was|got|feeling|have ~ @ill * / * i have|got|had|suffer from? ~ @disease *
  * my ~ @body hurts|hurt|aches|ache|is|are|feels *
    I am sorry that you are not well. When did it begin? / What does it keep you from doing?
    Is anybody taking care of you? / I am no doctor, only a program. Have you seen a real one about it?
  he|she|they * @ill * / * hospital|@disease *
    What does it do to your days? / Who is there for you with it? / What do the doctors say?
8 @family
  * my ~ @family always|never|often? \
loves|hates|hated|loved|ignores|left|likes|misses|needs|calls|tells|told|thinks|wants|wanted +
    How do you notice that, with your {1}? / Has your {1} always been like that? / What do you answer your {1}?
  * my ~ @family is|was +
    What is it like for you that your {1} is {2}? / Since when has that been so with your {1}?
    How does it show that your {1} is {2}?
  * my ~ @family +
    How do things usually go between you and your {1}? / When did you and your {1} last really talk?
    What does your {1} mean to you? / What would your {1} say, if I could ask?
  * my ~ @family
    What is the first picture that comes to you when you think of your {1}? / Describe your {1} to me in three words.
    What have you learned from your {1}?
  * @family *
    Who comes to mind when you say "{1}"? / What should a good {1} be like? / Do you speak of one of your own family?
8 @relatives family
  * my ~ @relatives * / * my ~ family * / *
    What were things like at home when you were small? / Who in your family is most like you?
    What would your family be surprised to hear about you? / Where do you sit when the whole family is at the table?
6 friend friends boyfriend girlfriend
  * no|any|have few? ~ friends *
    That sounds lonely. When did you last feel close to somebody? / What would you do first with a friend?
    Who was the last person you would have called a friend?
  * my ~ @friend|friends *
    How did you meet? / What would your friends say about this? / When did you last quarrel, and how did you make up?
  *
    What makes somebody a friend, for you? / Which friend do you think of now? / Do you make friends easily?
"""

# Each feeling has the same frame; what differs is what one would gently ask about it.
MOODS: Final = """
7 @sad cry crying sadness depression tears
  * i ~ am|feel|felt|was|have|get|look ~ @sad about|over +
    What is it about {2} that makes you {1}? / When you think of {2}, what hurts most?
    How would you feel, if it were not for {2}?
  * i ~ am|feel|felt|was|have|get|look ~ @sad * / * makes|make|made me ~ @sad * / ~ @sad
    What do you think made you so {1}? / When you are {1}, what helps a little? / Does anybody know that you feel {1}?
    That sounds hard. Is there something in particular that makes you feel {1}? / When were you last not {1} at all?
  * cry|crying|tears|sadness *
    What brings the tears? / When did you last feel lighter? / Who is allowed to see you cry?
7 @happy happiness good fine ok okay alright well
  i am|feel ~ good|fine|ok|okay|alright|well *
    Is that a polite answer, or a true one? / Good. Then what shall we talk about? / What would make it even better?
  * i am not|never ~ @happy *
    When were you last {1}? / What is missing, for you to be {1}? / What would make you {1} tomorrow?
  * i ~ am|feel|felt|was|have ~ @happy * / ~ @happy
    That is good to hear. What is the best part of it? / Whom would you like to tell about it? / How did it come about?
7 @angry anger rage
  * i ~ am|feel|felt|was|have|get|got ~ @angry at|with|about|by +
    What did you want to say to {2}? / What would put things right between you and {2}? / What is behind it?
  * i ~ am|feel|felt|was|have|get|got ~ @angry * / * makes|make|made me ~ @angry * / ~ @angry
    What happened just before? / Where does it go, when you are {1}? / Who should know that you are {1}?
    What would you do now, if nobody were watching?
7 @afraid fear fears anxiety worry worries panic
  * @afraid of|about +
    When you picture {2}, what is the worst of it? / When did it begin? / What would you do without the fear?
  * i ~ am|feel|felt|was|have|get|got ~ @afraid * / * makes|make|made me ~ @afraid * / ~ @afraid
    What goes through your head when you are {1}? / When does it get easier? / Who makes you feel safe?
    Have you been {1} of something before that turned out well?
  * fear|fears|anxiety|worry|worries|panic *
    Where does the fear sit, when it comes? / What does it want to protect you from? / And what calms you?
7 @lonely loneliness
  * i ~ am|feel|felt|was|have|get ~ @lonely * / ~ @lonely / * loneliness|lonely *
    When did you last not feel that way? / Who would you like to have beside you now?
    Is it that nobody is there, or that nobody listens?
    I am a poor sort of company, but I am here. What would you like to tell someone?
7 @tired @stressed stress sleep insomnia slept awake
  * can't|don't|couldn't|didn't|hardly|not ~ sleep * / * insomnia|awake *
    What do you think about when you lie awake? / What do you do before you go to bed? / When did you last sleep well?
  * i ~ am|feel|felt|was|have|get ~ @tired|@stressed * / ~ @tired|@stressed
    That is no wonder if it has gone on for long. What takes most out of you? / What does a good rest look like for you?
    What could you leave undone, without the world ending? / When did you last have a day to yourself?
  * stress|sleep *
    How well do you sleep? / What weighs on you most at the moment? / What would you do with one free day?
7 @bored @confused @ashamed guilt shame
  * i ~ am|feel|was|have|get ~ @bored * / * this|that|it|life is ~ @bored * / ~ @bored
    What would you rather be doing? / Boredom often stands in front of something else. What is behind it?
    When did you last forget the time?
  * i ~ am|feel|felt|was ~ @confused * / ~ @confused
    What are the two sides of it? / What do you know for certain? / If you had to guess, what would you do?
  * i ~ am|feel|felt|was|have ~ @ashamed * / ~ @ashamed
    What would you say to a friend who felt {1}? / Who else knows that you feel {1}?
    What would have to happen, for you not to feel {1} any more?
"""

LIFE: Final = """
6 want need like wish hope would
  * i don't want|need +
    What would you rather have? / Who wants it, if you do not? / What would it be like without {1}?
  * i ~ want|need to + / * i ~ would like to + / i ~ want|like to / i would ~ want|like|love to
    What has kept you from it so far? / How would you feel afterwards, if you were to {1}? / Who could help you to {1}?
    How would you notice that it was right for you to {1}?
  * i ~ want|need + / * i would like +
    What would be different, if you had {1}? / What have you done so far to get {1}? / Who could give you {1}?
    And if you cannot have {1}, what would come close?
  * i ~ wish|hope that? +
    How would you notice that it had come true? / What makes you wish for that just now?
    What could you do yourself to bring it nearer? / And if it never comes, what then?
6 can't couldn't unable
  * i can't|couldn't + / * i am unable to +
    What would happen, if you could {1}? / What keeps you from it? / Was there a time when you could {1}?
6 feel feels
  * i ~ feel like|that +
    When did you first have that feeling? / What would somebody who loves you say to that?
    Is it a feeling you know from before? / If you take it seriously for a moment, what does it ask for?
  * i ~ feel +
    When do you feel {1} most? / What comes just before you feel {1}? / Feeling {1}, what would you like to do?
    Do others notice when you feel {1}?
6 think believe guess suppose feel know idea clue care
  * do|don't you think|believe that? + / * what do you think|believe *
    I have no opinions of my own. What do you think? / What would you like me to say?
    It counts more what you think yourself. What is it?
  * i ~ know that? + / * i ~ think|believe|guess|suppose that? +
    What makes you so sure that {1}? / Who would say the opposite? / Have you always thought so?
    And if it were not so that {1}, what would follow?
  * i don't know * / no idea|clue *
    And if you did know, what would you say? / What would you need, in order to know? / Who might know?
    Make a guess; nobody is counting.
  i don't think|believe so *
    What makes you say no? / All right. What else could it be? / What would change your mind?
  * i don't think|believe that? +
    What speaks for it, and what against? / What makes you doubt it? / What would convince you that {1}?
  * i don't care *
    What do you care about? / Did you care once? / Who would be surprised to hear that you do not care?
6 remember forget forgot forgotten memory memories recall
  * do you remember *
    I remember what you tell me while we talk, and nothing else. What should I remember?
    Remind me. What was important about it? / Only dimly, like a program. What do you remember about it?
  * i ~ remember|recall +
    What brings {1} back to you now? / What else was there, besides {1}? / How do you feel when you remember {1}?
  *
    Would you rather keep it or forget it? / What is your earliest memory? / What do you hope never to forget?
6 love hate like miss enjoy adore prefer
  * do you like|love|hate|enjoy|prefer +
    I have no taste for anything, being a program. What about you and {1}? / You first: what do you think of {1}?
    What would we say to each other about {1}, if I did?
  * i don't ~ like|love|enjoy +
    What is it about {1} that you do not like? / Was it ever different? / What would you put in the place of {1}?
  i ~ hate|hated +
    What is it about {1} that you hate? / What would have to change about {1}?
    Hate is a strong word. What is the worst of it?
  i ~ miss|missed +
    What do you miss most about {1}? / When were you last close to {1}? / What would you say to {1} now?
  i ~ love|loved|like|liked|enjoy|adore|prefer + / i ~ am|fell ~ in love with +
    What do you like best about {1}? / How did it begin, with you and {1}? / What would life be without {1}?
  * love *
    What does love mean to you? / Who taught you what love is? / How do you notice that you are loved?
5 am was i'm
  i am not sure|certain *
    What would make you sure? / Which way do you lean? / Whom could you ask?
  i am ~ @useless *
    I do not see that. Who told you that you are {1}? / You are hard on yourself. What would a friend say?
    When did you first begin to think of yourself as {1}?
  i am not +
    What are you, then? / Does anybody say that you are {1}? / Would you like to be {1}?
  i am going|trying|planning to +
    What do you expect of it? / What made you decide to {1}? / What could get in the way?
    How will you feel, once it is done?
  i am *ing *
    How is that for you? / Do you do that often? / What would you be doing, if you could choose?
  i am @article +
    What does nobody know about being {1} {2}? / How did you become {1} {2}?
    What do you like about being {1} {2}, and what not?
  i am +
    What is it like to be {1}? / How is it for you that {0}? / Who knows that {0}? / If {0}, what follows from that?
  * am i +
    What makes you ask whether you are {1}? / What would your best friend say: are you {1}?
    If you were {1}, what would be so bad about it?
  * i was +
    How was that for you? / Is it over, or does it still go on? / What do you think of it today?
3 if
  * if +
    Do you think it is likely? / What would you do then? / Do you hope for it or fear it? / And what if not?
5 should shall must shouldn't ought have
  * should|shall i +
    What would be lost, if you did it? / What would you advise a friend, in your place?
    What would you regret more, doing it or not doing it? / A program should not decide that. What does your heart say?
  * i ~ should|shouldn't|must|ought to? + / * i have to +
    Who says so? / What happens, if you do not? / What would you rather do?
2 always never one everyone everybody nobody nothing everything
  * everyone|everybody|nobody * / no one *
    Whom do you have in mind when you say "everybody" or "nobody"? / Is there not one exception? / Who was the last one?
  * always *
    When, for instance? / Was there a time when it was not so? / What would be the first small exception?
  never mind *
    All right, we leave it there. What else is on your mind? / I do not mind. What else? / Perhaps later. What instead?
  * never *
    Never is long. What would it be like, if it happened once? / Has it come close? / Who or what prevents it?
  * nothing|everything *
    Everything and nothing are large words. Give me one small piece of it. / What if you looked at only one part of it?
    What would be the smallest thing that is different?
3 my mine have had
  my + is|was|are|were|has|had|have|will|can|can't|does|doesn't|don't|won't *
    How is it usually, with your {1}? / What does your {1} mean to you? / What would you change about your {1}?
  my * / i * my *
    What does it mean to you? / How did it begin? / Does anyone else know about it?
  * i have|had been? @article? +
    Tell me how it came about. / What does that mean for you? / How do you deal with it?
3 you your
  * can|could|will|would you *
    That depends on my rules, and there are few. What do you hope for? / If I could, what would you do with it?
    I do little more than ask. What shall I ask you about?
  * are you +
    Would it matter to you, if I were {1}? / I am only a program, so I can hardly say. And you, are you {1}?
    What makes you wonder whether I am {1}?
  you are not? +
    I am whatever my rules make of me. And what are you? / What makes you say that? / Do I remind you of somebody?
  you +
    What gives you the idea that {0}? / Suppose {0}. What then?
    Let us speak of you rather than me. Do people ever say such things about you?
  * your +
    Why are you interested in my {1}? / Never mind my {1}. How is it with yours?
    What would you like to know about my {1}?
3 why
  why don't|can't|won't you *
    My rules say nothing about that. What would you like me to do? / Would it help you, if I did? / Who else should?
  why can't|don't|am|do|did|was|have|should|must i *
    What answers have you found so far? / If a friend asked you that, what would you say?
    How long have you been asking yourself that?
  why|y / why not
    Because I am curious, as far as a program can be. What is your answer? / Does it matter to you to have a reason?
    What would be a good reason, for you?
  *
    What do you think is the reason? / Who could tell you? / How would it help you to know?
    I only know the questions, not the answers. What is your best guess?
3 what who where when which how whose
  what|who is|are +
    I hardly know any facts, only sentences. What do you know about {1}? / What does it have to do with you?
    An encyclopedia would tell you more. What interests you about it?
  * what should|shall|can|do i do *
    What have you tried already? / What would you advise somebody else, in your place?
    What would be the smallest first step?
  what|who|where|when|which|how
    I was asking about you. What would you like to talk about? / You ask briefly. Could you ask a little more fully?
    I am not sure myself. What were you thinking of?
  *
    What would you like the answer to be? / What is behind the question? / Whom else have you asked?
    I do not know, I only have rules. What is your own answer?
"""

# A statement that has one of these forms is kept, and brought up later.
MEMORABLE: Final = (
    "my * is|was|are|were|am|has|have|had|does|doesn't|don't|didn't|can't|can|won't|never|always|left|lost|wants +",
    "my * hates|hate|loves|love|says|said|thinks|makes|made|works|lives|told|tells|broke|hurts|keeps|calls|drinks *",
    "i lost|love|hate|miss|live|work|failed|quit|broke|dream|dreamed|dreamt|married|moved|want|can't|hope|wish + ",
    "i am|was|feel ~ afraid|scared|worried|nervous|sad|angry|ashamed|proud|lonely about|of|that|at|in|because +",
    "i am|was going|planning|trying|getting|looking|writing|learning|working|studying|building|living +",
    "i have|had a|an|no|been|two|three|four|trouble|problems +",
)


def _rules(script: str) -> Iterator[Rule]:
    """Read the notation above; the indentation tells what a line is."""
    for block in re.split(r"\n(?=\d)", script.strip()):
        head, *lines = block.split("\n")
        rank, *keys = head.split()
        kinds = [listed(*found) for _, found in groupby(lines, key=lambda line: line.startswith("    "))]
        turns = tuple(Turn(patterns, answers) for patterns, answers in zip(kinds[::2], kinds[1::2], strict=True))
        yield Rule(int(rank), frozenset[str]().union(*map(expanded, keys)), turns)


RULES: Final = tuple(rule for text in (FEELINGS, MOODS, LIFE, TOPICS, SMALL_TALK) for rule in _rules(text))
