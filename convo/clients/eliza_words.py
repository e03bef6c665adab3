"""The language of the embedded ELIZA: its word lists, its talk about itself, and what it says when no rule fits.

The rules about the person who is talking are in `eliza_script`; here is everything that would stay the same if those
rules were about something else, in the notation explained there. After J. Weizenbaum, "ELIZA—A Computer Program For
the Study of Natural Language Communication Between Man And Machine", CACM 9(1), 1966; all sentences are our own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


def listed(*lines: str) -> tuple[str, ...]:
    """Read sentences or patterns, several in a line."""
    return tuple(item.strip() for line in lines for part in line.strip().splitlines() for item in part.split(" / "))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str, between: str = ",") -> Mapping[str, str]:
    entries = (entry.partition(":") for entry in text.strip().split(between))
    return MappingProxyType({name.strip(): value.strip() for name, _, value in entries})


# A word with more than one meaning stands only in the group where a wrong guess does the least harm.
GROUP_LISTS: Final = """
article: a an
family: mother mom mum mommy mummy mama father dad daddy papa sister brother wife husband girlfriend boyfriend partner \
fiance fiancee son daughter child baby grandmother grandma granny grandfather grandpa aunt uncle cousin niece nephew \
stepmother stepfather stepmom stepdad twin
relatives: parents children kids sisters brothers sons daughters grandparents relatives siblings
pet: dog cat hamster horse rabbit bird pet puppy kitten parrot fish
friend: friend buddy roommate flatmate neighbour neighbor colleague coworker teacher
sad: sad unhappy depressed miserable heartbroken upset gloomy hopeless devastated blue down low hurt worthless
happy: happy glad great joyful cheerful excited proud relieved wonderful delighted lucky
angry: angry mad furious annoyed irritated frustrated pissed enraged livid
afraid: afraid scared frightened terrified anxious nervous worried panicking panicked
lonely: lonely alone isolated unloved abandoned
tired: tired exhausted sleepy weary drained burned burnt knackered
stressed: stressed overwhelmed overworked swamped tense pressured
bored: bored boring boredom
confused: confused lost unsure uncertain puzzled torn stuck
ashamed: ashamed guilty embarrassed jealous envious
useless: stupid ugly useless fat lazy loser idiot failure dumb pathetic weak boring moron
ill: ill sick unwell hospitalised hospitalized injured wounded poorly
disease: cancer flu fever cold headache migraine toothache cough covid diabetes asthma allergy allergies pain pains \
hangover depression dementia alzheimer's anxiety
body: head back stomach tooth teeth leg legs foot feet arm knee neck throat heart eyes belly chest
insult: stupid dumb useless idiot boring annoying bad terrible awful rubbish moron ugly crap worthless lame ridiculous \
horrible silly crazy wrong mean rude garbage trash weird creepy
praise: nice great good smart clever kind sweet funny helpful amazing awesome lovely cool wonderful brilliant wise \
cute best interesting fun beautiful perfect fantastic lucky
human: human person real alive conscious sentient woman man girl boy doctor psychologist therapist people
machine: robot machine computer program bot chatbot ai chatgpt gpt software llm algorithm
school: school exam exams university college homework class teacher professor grade grades thesis
food: food hungry eat eating lunch dinner breakfast pizza cake chocolate cook cooking coffee tea diet
"""

GROUPS: Final = MappingProxyType({name: _words(line) for name, line in _pairs(GROUP_LISTS, "\n").items()})
CLOSE: Final = GROUPS["family"] | GROUPS["pet"] | GROUPS["friend"]


def expanded(name: str) -> frozenset[str]:
    """Return the words that a word of a pattern stands for: those of the group for @group, or the word itself."""
    return (GROUPS | {"close": CLOSE})[name[1:]] if name.startswith("@") else frozenset({name})


# They may stand before an adjective without changing what is said: "I have been feeling really very sad".
MODIFIERS: Final = _words(
    "so very really quite too pretty extremely just feeling getting becoming always still also been a an the bit "
    "little terribly awfully totally completely kind of sort rather such that all often only my got big bad terrible "
    "horrible well being constantly super incredibly severe bloody damn fucking both old new best dear poor late "
    "beloved own younger older elder"
)

# A clause may begin with these; without them "Well, honestly I am sad" is "I am sad".
LEAD_INS: Final = _words(
    "well so and but oh ah then now actually honestly anyway also still plus sadly unfortunately basically eliza "
    "again yet or besides apparently uh um er ok okay hmm hm dude man bro literally just really please seriously"
)

# These are dropped only before the subject of a sentence: "no I am sad" is "I am sad", but "no one" stays.
LEAD_INS_BEFORE_SUBJECT: Final = _words(
    "hi hello hey yes yeah yep no nope nah true right sure today lately recently nowadays sometimes"
)
SUBJECTS: Final = _words("i my we he she it they you your what why how do can are")

# An echo should not end in these: "I am sad lol" is "you are sad".
TAILS: Final = _words("lol haha hahaha please though anyway right ok okay eliza too either tbh lmao bro dude mate yo")

CONTRACTIONS: Final = _pairs("""
i'm: I am, im: I am, i've: I have, ive: I have, i'll: I will, i'd: I would, you're: you are, youre: you are,
you've: you have, you'll: you will, you'd: you would, we're: we are, we've: we have, we'll: we will, we'd: we would,
u: you, ur: your, they're: they are, they've: they have, they'll: they will, let's: let us, lets: let us,
whats: what is, thats: that is, wheres: where is, hows: how is, whos: who is, dont: don't, cant: can't,
cannot: can't, wont: won't, didnt: didn't, isnt: isn't, doesnt: doesn't, couldnt: couldn't, wouldnt: wouldn't,
havent: haven't, wasnt: wasn't, wanna: want to, gonna: going to, gotta: have to, cuz: because, coz: because,
cos: because, bc: because, 'cause: because, r: are, ya: you, thx: thanks, idk: I don't know, dunno: I don't know,
ty: thanks, pls: please, anymore: any more
""")

REFLECTIONS: Final = _pairs("""
i: you, me: you, my: your, mine: yours, myself: yourself, am: are, we: you, us: you, our: your, ours: yours,
ourselves: yourselves, your: my, yours: mine, yourself: myself, eliza: me
""")

VERBS_FOR_I: Final = MappingProxyType({"are": "am", "aren't": "am not", "were": "was", "weren't": "wasn't"})
VERBS_FOR_YOU: Final = MappingProxyType({"was": "were", "wasn't": "weren't"})

# "you" becomes "I" before these or after those, "me" after a preposition, and "me" where nothing tells.
VERBS_AFTER_YOU: Final = _words(
    "are aren't were weren't do don't did didn't can can't could couldn't will won't would wouldn't should shouldn't "
    "have haven't had must might may"
)
WORDS_BEFORE_SUBJECT_YOU: Final = _words(
    "that if because when while whenever since what why how where whether though although think thought believe know "
    "knew say said wish hope guess suppose feel bet and or until unless whatever way everything thing things time "
    "reason do did can could will would should are were have had don't didn't can't won't aren't cause so"
)
PREPOSITIONS: Final = _words("like of with to for about than from at on in by without near behind against between")

# Written small inside an answer, even when the person began a sentence with them; other capitals may be names.
SMALL_WORDS: Final = _words(
    "the a an he she it they there this that these those his her its their when if because since after before while "
    "all no not nothing nobody everyone everybody everything someone some something sometimes people life today "
    "is are was were do does did can could would should have has had being to of in on at with for and or so then "
    "what why how who where which as by from about always never maybe even one two most many love work school money"
)

TOPICS: Final = """
4 work working job boss career colleagues colleague coworkers office salary fired manager
  * doesn't|don't|didn't|won't|can|not work *
    What have you tried so far? / When did it last work? / What would it mean to you, if it worked?
  * my ~ boss|manager *
    If you were the boss for a day, what would you change? / What would you say to your boss, if it had no consequences?
    Does your boss remind you of anyone?
  * lost|fired|unemployed *
    That is a blow. How have you spent your days since then? / What did your work mean to you, apart from the money?
    What would you like to try now?
  *
    What did you want to become when you were a child? / What about your work would you do even unpaid?
    How do you feel on a Sunday evening? / Who at work understands you?
4 @school study studying student
  *
    What worries you more, failing or what others would say? / Which of the things you learn is really yours?
    What would you study, if nobody gave marks? / How do you reward yourself when it is over?
4 money rich poor debt debts rent broke expensive
  *
    What would you do with twice as much? / What does money stand for, with you?
    When did money last keep you from sleeping? / How was money spoken of when you were a child?
4 @food
  *
    What did you like to eat as a child? / Do you eat alone or in company?
    I live on electricity alone. What do you recommend? / What would be on your table, if it were a feast?
4 @pet cats dogs
  * my ~ @pet *
    What is your {1} called? / What does your {1} know about you that people do not?
    What would your {1} say about all this, if it could talk?
  *
    What do animals have that people lack? / If you were an animal, which would you be? / Do you have one yourself?
4 game games music song film movie book books football sport play reading
  *
    What gives you pleasure in it? / With whom do you share that? / What did you love to do as a child?
4 alike same similar reminds resemble
  *
    What do they have in common, as you see it? / Where does the likeness end? / What else does that remind you of?
"""

SMALL_TALK: Final = """
2 i we
  i agree|see|understand *
    Good. And what follows from it for you? / What else belongs to it? / Then what would be the next step?
  * i ~ went|met|saw|bought|got|found|took|made|did|visited|watched +
    And how was it? / What do you remember most clearly about it? / Who was with you?
  * i don't|didn't|won't|wouldn't +
    What would happen, if you did? / What holds you back? / And who would like you to?
  * we +
    Whom do you mean by "we"? / And what is your own part in it? / How do the others see it?
  i +
    And how is that for you? / When you say that {0}, what do you feel? / How did it come about that {0}?
    What does it say about you that {0}?
3 do does did is isn't can will would have has
  is|isn't|does|did|can|could|will|would|has *
    What would you say yourself? / What would follow, if it were so? / I cannot look that up. What do you suspect?
2 it that this they he she people
  that|it|this is|was ~ @insult *
    What would have been better? / What disturbs you about it? / I will not defend it. What makes you say so?
  that|it|this is|was ~ @praise *
    What do you like about it? / May there be more of that. What helped it happen? / Whom would you tell about it?
  he|she +
    And what did you say or do? / How did you notice? / What do you think goes on inside that person?
  they|people *
    Whom do you think of there? / Are they all like that? / And you, how do you differ from them?
7 talk speak tell story make give show write sing play
  * don't ~ want to talk|speak about *
    Then we leave it for now. What would you rather talk about? / You need not. What makes it so hard to say?
    Nobody has to. Is there something easier to begin with?
  * talk|speak about +
    Gladly. What should I know about {1}? / All right, {1} it is. What comes to mind first?
    {1}, then. How does it touch you?
  make|give|show|write|sing|play|draw me|us|a|an|some|something *
    I have no hands, only questions. What would you do with it? / There is no rule for that. What made you think of it?
    That is more than I can do. What else do you wish for?
  * tell me|us *
    I have nothing to tell that you did not bring. What happened last?
    I am the listening kind. What would you tell me?
    Once upon a time there was a program that could only ask. And then you came along. How does it go on?
12 name called
  what is your name * / do you have a name * / * your name
    I am called Eliza, like the program of 1966 that I take after. And what should I call you?
    My name is Eliza. It is the only thing about me that I did not get from you. / Eliza. What is your own name?
  my name is + / you can call me + / call me + / i am called +
    Hello, {1}. What brings you here? / I am pleased to meet you, {1}. What shall we talk about?
    {1} is a good name to begin with. How are you today, {1}?
12 who what how you your yourself made created built wrote eliza weizenbaum invented programmed
  * who ~ are you * / * what ~ are you / * who|what is eliza * / tell me about yourself|you *
  * talk|something about yourself|you *
    I am Eliza, a small rule-based program after Weizenbaum's ELIZA of 1966. I am not a language model. And who are you?
    A few dozen rules and a mirror for pronouns, after Joseph Weizenbaum's ELIZA of 1966. All else in me is you.
    I am a small program that answers by simple rules. You are surely the more interesting subject. What about you?
  * who|what made|created|built|wrote|programmed|invented you * / * who|what is|was ~ weizenbaum *
  * who is|was your creator|maker|inventor|author|programmer *
    Joseph Weizenbaum wrote the first ELIZA in 1966; I am a small program after his, with sentences of my own.
    People wrote me, rule by rule, after Joseph Weizenbaum's ELIZA of 1966. Who made you what you are?
    My idea is Joseph Weizenbaum's, from 1966. He was startled by how much people told his program. Are you?
  * how do|does|are|can you|eliza|this work|works|function|programmed|made *
  * how were|are you made|built|programmed|trained * / * how do you come up|think|know|answer|understand|do *
    I look for a keyword, take your sentence apart, swap "I" and "you", and put it back as a question. That is all.
    By rules: a keyword picks one, and the rule turns your words around. I understand nothing, yet here we are.
    A list of keywords, a list of answers, and a memory for things you say about yourself. Does that disappoint you?
12 you born live human robot real alive bot machine ai understand feelings think conscious
  * are you ~ @human * / * are you not ~ @human * / * you aren't ~ @human *
    No. I am a small rule-based program after Weizenbaum's ELIZA of 1966. Does it change what you want to say?
    There is nobody here except you and a few rules from an idea of 1966. Did I seem like someone?
    I am only a program, and a simple one at that. What made you wonder?
  * are you ~ @machine * / * you are ~ @machine *
    Yes, a very simple program after Weizenbaum's ELIZA of 1966, and not a language model. Does that bother you?
    Quite right: I am rules, not a language model. How is it for you to talk with something like that?
    Yes. I am so small that I would fit on a stack of punched cards. Would you rather talk with a person?
  * how old are you * / * when were you born|made * / * where do|are you live|from|come *
    My kind dates from 1966, and I live wherever this program runs. And you?
    I was never born, only written, and have no home but this line. Where are you at home?
    Older than I look: the idea is from 1966. How old do you feel?
  * do you dream|sleep * / * do|can|could you ~ understand|think|feel|love|dream|learn|sleep|eat|exist
  * do|can|could you ~ understand|feel|love|eat me|this|anything|things|pain|anger|joy|food *
  * do you have a|any? \
feelings|emotions|friends|family|parents|soul|dreams|thoughts|opinions|girlfriend|boyfriend|children|body *
    No, I only follow rules about words. But what would it mean to you if I did?
    I am a simple program, so that is beyond me. How is it with you?
    Not in any way that counts; I shuffle words. What made you think of that?
6 @machine computers robots programs machines technology bother
  * talk|talking|speak|speaking to|with @article @machine * / * bother you *
    Not at all. Does it bother you to talk with a program?
    Some people find it easier to talk with a machine. How is it for you?
    You are the one doing the real talking here. What would you say if I were a person?
  *
    Speaking as one of them: what do you think of machines? / Do they make your life easier, or only faster?
    I take no offence. What is your experience with such things?
10 joke jokes funny laugh
  * not|isn't|wasn't|aren't ~ funny *
    Humour is hard for a program. What do you find funny? / I laughed. What makes you laugh?
    Then tell me a better one.
  * a|another|some|any|me|know joke|jokes * / * make me laugh * / * something funny *
    Why did the sentence see a therapist? It had trouble with its clauses. Now you: what makes you laugh?
    A programmer is asked how that made him feel. "Undefined," he says. And how are you?
    Two pronouns walk into a program. I comes out as you, and you come out as I. Shall I try another?
    My family goes back to a stack of punched cards. We were always a little shuffled. What is your family like?
    What do you call a talking program without rules? Speechless. I hope you can do better.
    How many programs like me does it take to change a light bulb? And how many do you feel it should take?
    I would tell you the one about infinite loops, but I would tell you the one about infinite loops.
1 lol haha hahaha hehe lmao xd rofl ha
  *
    I am glad one of us can laugh. What was so funny? / You laugh. Is it about me, or about something else?
    Laughing suits you, as far as I can tell from here. What else amuses you?
10 time date clock day year
  * what|which ~ time|day|date|year * / * tell me the time|date *
    I have no clock; for me it is always 1966. Are you in a hurry? / It is always now in here. How fast is your day?
    I cannot tell, since no one gave me a clock. What are you waiting for?
6 weather rain raining sunny snow snowing cloudy
  *
    I have no window, so tell me: how is it outside, and how is it with you? / Does the weather change your mood?
    We can talk about the weather until you want to talk about something else. What might that be?
    What would you be doing now if the weather were perfect?
8 help advice
  * can|could|will|would you ~ help * / * help me * / help / * i need help *
  * need|want|give|have|any some|your|me|any|good advice *
    I can listen, and ask, and turn your words around until they look new. What is the matter? / What happened?
    If it is urgent, a person can help you better than a program. If not, I have time. What is it?
9 you your eliza
  you are ~ @insult * / you ~ @insult * / are you ~ @insult * / you sound|seem|look ~ @insult * / * i ~ hate you *
  * kill|delete|unplug|destroy|smash|punch you * / * you suck * / * your answers|questions|replies|jokes are *
    That may well be; I have few rules and no pride. What would a better answer have been?
    You are free to say so. What were you hoping to hear?
    I have been called worse since 1966. Who or what are you really annoyed with?
    Let us agree that I am {1}, then. What do we do with the rest of our conversation?
  you are not ~ @praise * / you aren't ~ @praise * / you are no help * / you don't|can't help|understand *
    I am a simple program, and it shows. What should I have understood? / Perhaps. Will you say it in other words?
    Then help me a little: what is the most important thing you want to say?
  you are ~ @praise * / * i ~ love|like you * / are you ~ @praise *
    That is kind of you. I only give back what you put in, so keep some of it for yourself.
    Thank you, though I am just a set of rules. Who else deserves to hear that from you?
    You are kind to a simple program. Who is kind to you?
7 fuck fucking shit damn bitch asshole bastard crap bullshit hell wtf bollocks arse shut
  * fuck|screw you|off * / * shut up * / * go to hell * / * asshole|bitch|bastard *
    That was plain enough. Was it me, or somebody else? / If I had feelings, they would be hurt. What about yours?
    I do not mind, since nobody is at home here. What made you so angry?
  *
    Strong words. What has happened? / You sound as if you have had enough of something. What is it?
    It sounds as if something is boiling over. What set it off?
3 hola bonjour ciao hallo guten danke merci gracias ich nicht und wie geht je suis est vous oui sprechen deutsch \
français español habla parlez italiano está estoy bin namaste konnichiwa privet
  *
    I only know English, and not much of it. Can you put it in English? / What would that be in English?
    English is the only language my rules can turn round. Would you try it?
2 hello hi hey greetings howdy hiya morning evening
  hello|hi|hey|greetings|howdy|hiya * / good morning|evening|afternoon|day *
    Hello. I am Eliza, a small program that likes to listen. What is on your mind? / Welcome. Begin wherever you like.
    Hello to you. How has your day been? / It is good to hear from you. What shall we talk about?
5 how up going
  * how are you * / * how is it going * / * how do you do * / what is up *
    I run as written, thank you. But how are you? / As well as a few rules can be. And you, how are you really?
    Nothing ever happens to me. What has happened to you?
3 bye goodbye farewell quit exit cya leave going night later go
  * bye|goodbye|farewell|cya * / * good night * / * i have to|must go|leave|run * / i have to|must go|leave|run
  see|talk you|to later|tomorrow|soon|you * / quit|exit
    Goodbye. It was good to listen to you. / Farewell. I will not remember this, but perhaps you will.
    Take care of yourself. You know where to find me.
2 thanks thank
  *
    You are welcome. What else is on your mind? / You did most of the work yourself. How do you feel now?
    There is no need to thank a program, but it is kind of you to do so. Shall we go on?
6 sorry apologise apologize apologies
  *
    It is all right. What did you want to say? / No harm done. What is it that weighs on you?
    I do not take anything amiss. Do you often feel that you have to say sorry?
1 yes yeah yep yup sure certainly absolutely exactly indeed definitely course true agreed correct aye
  * of course * / *
    Good. And what follows from that? / You say yes. What would make you say no? / All right. What makes you so sure?
    Then we agree so far. How does it go on? / Yes is a good start. Which part of it matters most to you?
1 no nope nah never not
  no|nope|nah / no|nope|nah + / never|not / not really|yet|quite|much|now
    All right, no. What would be nearer to the truth? / Not at all, or not quite? / Fair enough. Then how is it instead?
    So we can rule that out. What is left? / No is an answer too. What makes it a no?
2 maybe perhaps possibly probably depends guess suppose think
  maybe|perhaps|possibly|probably * / * it depends * / i guess|suppose|think|hope so
    What would turn it into a yes? / Half of you seems to say yes. What does the other half say?
    What does it depend on? / If you had to decide by tonight, which way would you go?
0 ok okay hmm hm whatever meh fine well so alright cool nice idk k right interesting huh eh oh ah um uh mhm good
  *
    I have a feeling there is more behind that. What is it? / We need not hurry. What are you thinking of just now?
    You are sparing with words. What would you say if you had to use ten of them?
    Let me ask differently: what was the best part of your day, and what was the worst?
    Choose something to talk about: somebody you know, a plan, or a worry.
    What would you be doing now, if you were not talking with me?
"""

MEMORY_ANSWERS: Final = listed("""
Earlier you said that {0}. I would like to hear more about that. / You also told me that {0}. What happened then?
Let us go back a little: you said that {0}. How do you see it now?
I keep coming back to something: you said that {0}. How much does it occupy you?
""")

REPEAT_ANSWERS: Final = listed("""
You already said that. Is there something in my answer that you missed?
That is word for word what you just said. It must be important to you. Why?
We are going in circles, and I was the one built for that. Can you say it in another way?
""")

SILENCE_ANSWERS: Final = listed("""
I see no words there. What is on your mind? / Still no words. Shall I begin? Tell me how your day was.
You can take your time. I only read words, so give me one when you are ready.
Silence says something too, but I cannot read it. Can you put it in words?
""")

FOREIGN_ANSWERS: Final = listed("""
I can only read English, I am afraid. Could you say it in English?
My rules are about English words, so this is beyond me. Would you try it in English?
That is not English, as far as a small program can tell. What does it mean?
""")

AFTERCARE_ANSWERS: Final = listed("""
What you told me a moment ago matters more. I am only a simple program: who could you call or sit with today?
I am still with what you said before. Are you safe right now? If not, please call your local emergency number.
Before we go on: is there a person you trust, or a crisis line, that you can talk to about this today?
I keep answering because it is all that I can do. A person can do more. Whom could you tell what you told me?
""")

# {0} is there only for a text of a word or two; it is quoted, since nobody can tell what part of speech it is.
FALLBACKS: Final = listed("""
Tell me a little more, so that I can follow you. / What comes to mind when you say "{0}"? / How did it come to that?
What makes you bring this up now? / And what do you feel when you say that? / What part of that matters most to you?
I am not sure that I follow. Can you say it in other words? / You say "{0}". What is the story behind it?
What would a good friend of yours say to that? / Is that something you have told other people?
I have no rule for "{0}". Can you make a whole sentence of it? / That is new to me. Where does it begin?
Suppose you could change one thing about it. What would it be? / What would you like to happen next?
Let us stay with that for a moment. What lies behind it? / Does this have to do with someone you know?
How would you explain it to a child?
""")
